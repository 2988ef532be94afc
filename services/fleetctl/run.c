#include "run.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/id.h"
#include "common/json.h"
#include "run_internal.h"
#include "show.h"
#include "wait.h"

#define OUTPUT_MAX      ((size_t)128 * 1024 * 1024)
#define BODY_MAX        ((size_t)16 * 1024 * 1024)
#define SECRET_FILE_MAX ((size_t)128 * 1024)
#define PAGE_ROWS       1000
#define EARLY_S         60 /* a token is renewed this long before it expires */
#define EXIT_NO_RIGHT   77

int run_exit_status(err_t e)
{
    return e == ERR_UNAUTHORIZED || e == ERR_FORBIDDEN ? EXIT_NO_RIGHT : err_exit_status(e);
}

static err_t complain(err_t e, const struct fault *fault)
{
    (void)fprintf(stderr, "fleetctl: %s%s%s\n", fault->field, fault->field[0] != '\0' ? ": " : "",
                  fault->text);
    return e;
}

static void print(struct buf *text)
{
    (void)fputs(buf_cstr(text), stdout);
}

static void print_json(const cJSON *json)
{
    char *text = cJSON_Print(json);
    if (text != NULL) {
        (void)printf("%s\n", text);
        cJSON_free(text);
    }
}

int64_t run_integer_of(const cJSON *object, const char *name)
{
    int64_t value = 0;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return json_integer(item, &value) ? value : 0;
}

const char *run_text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

/* ---- calls ---- */

static err_t refused(const struct run *r, const struct client_answer *answer)
{
    CLEANUP_BUF struct buf text = BUF_INIT(65536);
    if (r->a->json) {
        print_json(answer->json);
    }
    show_error(answer->json, &text);
    (void)fprintf(stderr, "fleetctl: %s", buf_cstr(&text));
    return client_status_error(answer->status);
}

err_t run_ask(const struct run *r, const char *path, const cJSON *body, const char *key,
              struct client_answer *ret, struct fault *fault)
{
    CLEANUP_BUF struct buf text = BUF_INIT(BODY_MAX);
    err_t err = json_encode(body, &text);
    if (err == ERR_OK) {
        err = client_post(&r->client, path, "application/json", buf_span(&text), key, ret, fault);
    }
    return err == ERR_OK ? client_status_error(ret->status) : err;
}

err_t run_explain(const struct run *r, err_t err, const struct client_answer *answer,
                  const struct fault *fault)
{
    return answer->status != 0 ? refused(r, answer) : complain(err, fault);
}

/* One call; a refusal is printed. */
static err_t call(const struct run *r, const char *path, const cJSON *body, const char *key,
                  struct client_answer *ret)
{
    struct fault fault = {0};
    err_t err = run_ask(r, path, body, key, ret, &fault);
    return err == ERR_OK ? ERR_OK : run_explain(r, err, ret, &fault);
}

/* ---- credentials ---- */

static void take_tokens(struct run *r, const cJSON *answer)
{
    (void)snprintf(r->session.access, sizeof r->session.access, "%s",
                   run_text_of(answer, "AuthToken"));
    (void)snprintf(r->session.refresh, sizeof r->session.refresh, "%s",
                   run_text_of(answer, "RefreshToken"));
    r->session.expires_s = clock_now_ms(&clock_system) / 1000 + run_integer_of(answer, "ExpiresIn");
}

bool run_can_renew_token(const struct run *r)
{
    return r->client.token == r->session.access && r->session.refresh[0] != '\0';
}

err_t run_renew_token(struct run *r, struct client_answer *answer, struct fault *fault)
{
    CLEANUP_JSON cJSON *body = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(body, "RefreshToken", r->session.refresh);
    const char *expired = r->client.token;
    r->client.token = NULL;
    err_t err = run_ask(r, "/v1/authenticate/refresh", body, NULL, answer, fault);
    r->client.token = expired;
    if (err == ERR_OK) {
        take_tokens(r, answer->json);
    }
    return err;
}

err_t run_save_session(const struct run *r)
{
    struct fault fault = {0};
    err_t err = session_save(r->get, &r->session, &fault);
    return err == ERR_OK ? ERR_OK : complain(err, &fault);
}

static err_t refresh(struct run *r)
{
    CLEANUP(client_answer_deinit) struct client_answer answer = {0};
    struct fault fault = {0};
    err_t err = run_renew_token(r, &answer, &fault);
    return err == ERR_OK ? run_save_session(r) : run_explain(r, err, &answer, &fault);
}

static err_t use_file(struct run *r, const char *path)
{
    struct fault fault = {0};
    err_t err = arguments_read_line(path, &r->token, &fault);
    if (err != ERR_OK) {
        return complain(err, &fault);
    }
    r->client.token = buf_cstr(&r->token);
    return ERR_OK;
}

/* --token-file, else the session of login for this API, else the operator's token. */
static err_t choose_token(struct run *r)
{
    struct fault fault = {0};
    if (r->a->token_file != NULL) {
        return use_file(r, r->a->token_file);
    }
    err_t err = session_load(r->get, &r->session, &fault);
    if (err == ERR_INVALID) {
        return complain(err, &fault);
    }
    if (err == ERR_OK && strcmp(r->session.api, r->client.api) == 0) {
        bool fresh = r->session.expires_s > clock_now_ms(&clock_system) / 1000 + EARLY_S;
        err = fresh ? ERR_OK : refresh(r);
        r->client.token = r->session.access;
        return err;
    }
    if (r->a->operator_token_file != NULL && r->a->operator_token_file[0] != '\0') {
        return use_file(r, r->a->operator_token_file);
    }
    (void)fprintf(stderr, "fleetctl: nobody is logged in here; use fleetctl login, --token-file or "
                          "FLEETSEAL_OPERATOR_TOKEN_FILE\n");
    return ERR_UNAUTHORIZED;
}

static err_t login(struct run *r)
{
    CLEANUP(client_answer_deinit) struct client_answer answer = {0};
    CLEANUP_BUF struct buf secret = BUF_INIT_SECRET(SECRET_FILE_MAX);
    struct fault fault = {0};
    err_t err = arguments_read_line(run_text_of(r->a->body, "APISecret"), &secret, &fault);
    if (err != ERR_OK) {
        return complain(err, &fault);
    }
    (void)cJSON_ReplaceItemInObjectCaseSensitive(r->a->body, "APISecret",
                                                 cJSON_CreateString(buf_cstr(&secret)));
    err = call(r, r->a->command->path, r->a->body, NULL, &answer);
    if (err != ERR_OK) {
        return err;
    }
    (void)snprintf(r->session.api, sizeof r->session.api, "%s", r->client.api);
    take_tokens(r, answer.json);
    err = run_save_session(r);
    if (err != ERR_OK) {
        return err;
    }
    if (r->a->json) {
        CLEANUP_JSON cJSON *shown = cJSON_CreateObject(); /* without the tokens */
        (void)cJSON_AddStringToObject(shown, "DomainUID", run_text_of(answer.json, "DomainUID"));
        print_json(shown);
    } else {
        (void)printf("logged in to domain %s\n", run_text_of(answer.json, "DomainUID"));
    }
    return ERR_OK;
}

/* ---- commands ---- */

void run_show_answer(const struct run *r, const cJSON *json)
{
    const struct command *c = r->a->command;
    if (r->a->json) {
        print_json(json);
        return;
    }
    CLEANUP_BUF struct buf text = BUF_INIT(OUTPUT_MAX);
    show_object(json, c->rows, &text);
    if (c->rows != NULL) {
        (void)buf_append_byte(&text, '\n');
        show_table(c->columns, cJSON_GetObjectItemCaseSensitive(json, c->rows), &text);
    }
    print(&text);
}

static err_t send_csv(const struct run *r, const char *key, struct client_answer *ret)
{
    struct fault fault = {0};
    if (r->a->domain != NULL && r->a->domain[strspn(r->a->domain, "0123456789abcdef-")] != '\0') {
        return complain(fault_set(&fault, ERR_INVALID, "argument", "domain",
                                  "must be a DomainUID: a lower-case UUID"),
                        &fault);
    }
    CLEANUP_FREE char *path = r->a->domain != NULL
                                  ? xasprintf("%s?DomainUID=%s", r->a->command->path, r->a->domain)
                                  : xstrdup(r->a->command->path);
    err_t err = client_post(&r->client, path, "text/csv", buf_span(&r->a->csv), key, ret, &fault);
    if (err != ERR_OK) {
        return complain(err, &fault);
    }
    return client_status_error(ret->status) == ERR_OK ? ERR_OK : refused(r, ret);
}

/* Nobody knows whether it was done: a repeat must not do it once more. */
static void offer_repeat(const struct run *r, err_t err, const char *key)
{
    if (r->a->command->kind == COMMAND_RENEW && err_class(err) == ERR_CLASS_RETRY) {
        (void)fprintf(stderr,
                      "fleetctl: so that nothing is ordered twice, repeat it with "
                      "--idempotency-key %s\n",
                      key);
    }
}

/* The answer of the command's call, known for good. */
static err_t answered(struct run *r, struct client_answer *ret)
{
    char fresh[UUID_TEXT_SIZE];
    struct uuid id = uuid_v4();
    uuid_format(&id, fresh);
    const char *key = r->a->idempotency_key != NULL ? r->a->idempotency_key : fresh;
    err_t err = r->a->csv_given ? send_csv(r, key, ret)
                                : call(r, r->a->command->path, r->a->body, key, ret);
    if (err == ERR_OK && ret->status == 202) {
        err = wait_for_request(r, ret);
    }
    offer_repeat(r, err, key);
    return err;
}

static err_t run_call(struct run *r)
{
    CLEANUP(client_answer_deinit) struct client_answer answer = {0};
    err_t err = answered(r, &answer);
    if (err == ERR_OK) {
        run_show_answer(r, answer.json);
    }
    return err;
}

/* Follows the pages unless one was asked for. */
static err_t run_list(const struct run *r)
{
    CLEANUP_JSON cJSON *rows = cJSON_CreateArray();
    CLEANUP_JSON cJSON *body = cJSON_Duplicate(r->a->body, true);
    bool one_page = cJSON_HasObjectItem(body, "Limit");
    bool more = true;
    if (!one_page) {
        (void)cJSON_AddNumberToObject(body, "Limit", PAGE_ROWS);
    }
    while (more) {
        CLEANUP(client_answer_deinit) struct client_answer answer = {0};
        err_t err = call(r, r->a->command->path, body, NULL, &answer);
        if (err != ERR_OK) {
            return err;
        }
        cJSON *data = cJSON_DetachItemFromObjectCaseSensitive(answer.json, "data");
        while (data != NULL && data->child != NULL) {
            (void)cJSON_AddItemToArray(rows, cJSON_DetachItemViaPointer(data, data->child));
        }
        cJSON_Delete(data);
        more = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer.json, "has_more"));
        if (more && one_page) {
            (void)fprintf(stderr, "fleetctl: there is more: --after %s\n",
                          run_text_of(answer.json, "after"));
            more = false;
        }
        cJSON_DeleteItemFromObjectCaseSensitive(body, "After");
        (void)cJSON_AddStringToObject(body, "After", run_text_of(answer.json, "after"));
    }
    if (r->a->json) {
        print_json(rows);
        return ERR_OK;
    }
    CLEANUP_BUF struct buf text = BUF_INIT(OUTPUT_MAX);
    show_table(r->a->command->columns, rows, &text);
    print(&text);
    return ERR_OK;
}

static err_t run_renew(struct run *r)
{
    CLEANUP(client_answer_deinit) struct client_answer answer = {0};
    err_t err = answered(r, &answer);
    if (err != ERR_OK) {
        return err;
    }
    if (r->a->wait && run_integer_of(answer.json, "Queued") > 0) {
        return wait_for_order(r, run_text_of(answer.json, "OrderUID"));
    }
    run_show_answer(r, answer.json);
    return r->a->wait ? ERR_CONFLICT : ERR_OK; /* none was taken: none will install it */
}

static err_t dispatch(struct run *r)
{
    struct fault fault = {0};
    if (r->a->command->kind == COMMAND_LOGOUT) {
        err_t err = session_forget(r->get, &fault);
        return err == ERR_OK ? ERR_OK : complain(err, &fault);
    }
    if (r->client.api == NULL || strncmp(r->client.api, "https://", 8) != 0) {
        (void)fprintf(stderr, "fleetctl: where is the API? --api https://HOST:PORT or "
                              "FLEETSEAL_API\n");
        return ERR_INVALID;
    }
    if (r->a->command->kind == COMMAND_LOGIN) {
        return login(r);
    }
    err_t err = choose_token(r);
    if (err != ERR_OK) {
        return err;
    }
    if (r->a->domain != NULL && r->a->command->kind != COMMAND_NO_DOMAIN) {
        (void)cJSON_AddStringToObject(r->a->body, "DomainUID", r->a->domain);
    }
    switch (r->a->command->kind) {
    case COMMAND_LIST:
        return run_list(r);
    case COMMAND_RENEW:
        return run_renew(r);
    default:
        return run_call(r);
    }
}

int run_command(const struct arguments *a, char *(*get)(const char *))
{
    /* with or without its last slash, it is the same API */
    CLEANUP_FREE char *api = a->api != NULL ? xstrdup(a->api) : NULL;
    for (size_t len = api != NULL ? strlen(api) : 0; len > 0 && api[len - 1] == '/'; len--) {
        api[len - 1] = '\0';
    }
    struct run r = {.a = a,
                    .get = get,
                    .client = {.api = api, .server_ca = a->server_ca},
                    .token = BUF_INIT_SECRET(SECRET_FILE_MAX),
                    .deadline_ms = clock_mono_ms(&clock_system) + a->timeout_s * 1000};
    err_t err = client_start();
    if (err == ERR_OK) {
        err = dispatch(&r);
        client_stop();
    }
    buf_deinit(&r.token);
    OPENSSL_cleanse(&r.session, sizeof r.session);
    return fflush(stdout) == 0 ? run_exit_status(err) : run_exit_status(ERR_UNAVAILABLE);
}
