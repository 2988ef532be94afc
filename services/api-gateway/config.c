#include "config.h"

#include "common/version.h"
#include "token.h"

#define OPERATOR_TOKEN_MIN 32

static const struct codec_name role_names[] = {
    {GATEWAY_BOTH, "both"}, {GATEWAY_DOOR, "door"}, {GATEWAY_OWNER, "owner"}, {0}};

static const struct config_row rows[] = {
    CONFIG_COMMON_ROWS(struct config, common),
    CONFIG_ENUM(struct config, role, "role", "both", role_names,
                "Whether this process serves the API, owns the registry, or does both."),
    CONFIG_LISTEN(struct config, listen, "http.listen", "127.0.0.1:8443",
                  "Where the operators' API is served (HTTPS)."),
    CONFIG_PATH(struct config, tls_cert_file, "tls.cert_file", "",
                "PEM chain of the server, leaf first; needed by the door."),
    CONFIG_PATH(struct config, tls_key_file, "tls.key_file", "",
                "PEM private key of the server; needed by the door."),
    CONFIG_SECRET(
        struct config, token_key, "token.key_file", "",
        "File with the key that signs access tokens, the same for every replica, at least "
        "32 bytes; needed by the door."),
    CONFIG_SECRET(struct config, operator_token, "operator.token_file", "",
                  "File with the operator's token, at least 32 characters; none: no operator can "
                  "call."),
    CONFIG_PATH(struct config, webhook_kek_file, "webhook.kek_file", "",
                "32-byte key-encryption key shared with webhook-notifier; none: webhooks cannot be "
                "created."),
    CONFIG_DURATION(struct config, answer_timeout_ms, "answer.timeout", "2s", 100, 60000,
                    "How long a write waits for its owner before it is answered with 202."),
    CONFIG_INT(struct config, rate_requests, "rate.requests", "500", 1, 1000000, "requests/s",
               "Requests that one credential may send per second."),
    CONFIG_INT(struct config, rate_burst, "rate.burst", "1000", 1, 1000000, "requests",
               "Requests of one credential at once, above its rate."),
    CONFIG_INT(struct config, login_rate, "rate.logins", "10", 1, 100000, "logins/s",
               "Logins that one network address may try per second."),
    CONFIG_INT(struct config, login_burst, "rate.login_burst", "50", 1, 100000, "logins",
               "Logins of one network address at once, above its rate."),
    CONFIG_INT(struct config, threads, "http.threads", "2", 1, 64, "threads",
               "Event loops of the HTTPS server."),
    CONFIG_INT(struct config, connections_max, "http.connections", "1024", 16, 100000,
               "connections", "Open connections; more are closed at once."),
    CONFIG_INT(struct config, connections_per_address, "http.connections_per_address", "256", 0,
               100000, "connections",
               "Open connections from one address; 0: no limit, behind a proxy."),
    CONFIG_INT(struct config, list_scan_max, "list.scan_max", "5000", 100, 100000, "devices",
               "Devices that one list call looks at when it filters; it then ends with has_more."),
};

static void check(const void *config, struct config_problems *problems)
{
    const struct config *c = config;
    if (!config_has_door(c)) {
        return;
    }
    if (c->tls_cert_file[0] == '\0') {
        config_problem(problems, "tls.cert_file", "needed with role %s",
                       codec_name_of(role_names, (int)c->role));
    }
    if (c->tls_key_file[0] == '\0') {
        config_problem(problems, "tls.key_file", "needed with role %s",
                       codec_name_of(role_names, (int)c->role));
    }
    if (c->token_key.len < TOKEN_KEY_MIN) {
        config_problem(problems, "token.key_file", "must hold at least %d bytes", TOKEN_KEY_MIN);
    }
    if (c->operator_token.len > 0 && c->operator_token.len < OPERATOR_TOKEN_MIN) {
        config_problem(problems, "operator.token_file", "must hold at least %d characters",
                       OPERATOR_TOKEN_MIN);
    }
}

const struct config_spec config_spec = {
    .program = "api-gateway",
    .summary = "the operators' HTTPS API, and the owner of the registry behind it",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .size = sizeof(struct config),
    .check = check,
    .versions = version_libraries,
};
