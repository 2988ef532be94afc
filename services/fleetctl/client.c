#include "client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"

#define ANSWER_MAX ((size_t)64 * 1024 * 1024)
#define CONNECT_S  10L
#define TOTAL_S    300L

CLEANUP_DEFINE(CURL *, curl_easy_cleanup);
CLEANUP_DEFINE(struct curl_slist *, curl_slist_free_all);

void client_answer_deinit(struct client_answer *a)
{
    cJSON_Delete(a->json);
    *a = (struct client_answer){0};
}

err_t client_start(void)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? ERR_OK : ERR_INTERNAL;
}

void client_stop(void)
{
    curl_global_cleanup();
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    return buf_append(ctx, data, size * count) == ERR_OK ? size * count : 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
    static const char name[] = "Retry-After:";
    size_t len = size * count;
    if (len > sizeof name - 1 && strncasecmp(data, name, sizeof name - 1) == 0) {
        int64_t seconds = 0;
        for (size_t i = sizeof name - 1; i < len && seconds < 100000; i++) {
            if (data[i] >= '0' && data[i] <= '9') {
                seconds = seconds * 10 + (data[i] - '0');
            }
        }
        *(int64_t *)ctx = seconds;
    }
    return len;
}

static struct curl_slist *add_header(struct curl_slist *headers, const char *name,
                                     const char *value)
{
    char *line = xasprintf("%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(headers, line);
    free(line);
    return longer != NULL ? longer : headers;
}

static struct curl_slist *make_headers(const struct client *c, const char *type, const char *key)
{
    struct curl_slist *headers = add_header(NULL, "Content-Type", type);
    headers = add_header(headers, "Expect", "");
    if (c->token != NULL) {
        char *bearer = xasprintf("Bearer %s", c->token);
        headers = add_header(headers, "Authorization", bearer);
        free(bearer);
    }
    return key != NULL ? add_header(headers, "Idempotency-Key", key) : headers;
}

static void set_options(CURL *curl, const struct client *c, const char *url, struct span body)
{
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.len > 0 ? (const char *)body.ptr : "");
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, TOTAL_S);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "fleetctl/" FLEETSEAL_VERSION);
    if (c->server_ca != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, c->server_ca);
    }
}

err_t client_post(const struct client *c, const char *path, const char *type, struct span body,
                  const char *key, struct client_answer *ret, struct fault *fault)
{
    CLEANUP(curl_easy_cleanup) CURL *curl = curl_easy_init();
    CLEANUP(curl_slist_free_all) struct curl_slist *headers = make_headers(c, type, key);
    CLEANUP_FREE char *url = xasprintf("%s%s", c->api, path);
    CLEANUP_BUF struct buf text = BUF_INIT(ANSWER_MAX);
    char why[CURL_ERROR_SIZE] = "";
    struct client_answer answer = {0};
    if (curl == NULL) {
        return ERR_INTERNAL;
    }
    set_options(curl, c, url, body);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &text);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer.retry_after_s);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK) {
        return fault_set(fault, ERR_UNAVAILABLE, "unreachable", c->api, "%s",
                         why[0] != '\0' ? why : curl_easy_strerror(code));
    }
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    const struct json_limits limits = {
        .max_bytes = ANSWER_MAX, .max_depth = 16, .max_values = 2000000};
    if (json_decode(buf_span(&text), &limits, &answer.json, NULL) != ERR_OK) {
        /* a proxy's own page may still say that it passes */
        err_t err = client_status_error(answer.status);
        return fault_set(fault, err_class(err) == ERR_CLASS_RETRY ? err : ERR_CORRUPT,
                         "not_the_api", c->api,
                         "the server answered with %ld, but not as this API does", answer.status);
    }
    *ret = answer;
    return ERR_OK;
}

err_t client_status_error(long status)
{
    if (status >= 200 && status < 300) {
        return ERR_OK;
    }
    switch (status) {
    case 401:
        return ERR_UNAUTHORIZED;
    case 403:
        return ERR_FORBIDDEN;
    case 404:
        return ERR_ABSENT;
    case 409:
    case 422:
        return ERR_CONFLICT;
    case 429:
        return ERR_BUSY;
    case 502:
    case 503:
    case 504:
        return ERR_UNAVAILABLE;
    default:
        return status >= 500 ? ERR_INTERNAL : ERR_INVALID;
    }
}
