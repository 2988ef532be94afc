#include "transfer.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>

#include "address.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "retry.h"

#define ANSWER_MAX   ((size_t)64 * 1024) /* bytes read of an answer */
#define HEADERS_MAX  ((size_t)64 * 1024) /* bytes of its headers; libcurl keeps them all */
#define HEADER_MAX   512
#define CONTENT_TYPE "Content-Type: application/cloudevents+json; charset=utf-8"
#define AGENT        "Fleetseal-Webhooks/" FLEETSEAL_VERSION

struct transfer {
    struct transfer *previous;
    struct transfer *next;
    struct transfers *owner;
    CURL *easy;
    struct curl_slist *headers;
    struct buf body;
    void *token;
    int64_t started_ms;
    bool refused; /* an address that is not public */
    size_t received;
    size_t headers_received;
    uint8_t kept[WEBHOOK_RESPONSE_MAX];
    size_t kept_len;
    char error[CURL_ERROR_SIZE];
};

struct transfers {
    struct transfers_options options;
    CURLM *multi;
    struct transfer *first;
    size_t active;
};

err_t transfers_new(const struct transfers_options *options, struct transfers **ret)
{
    struct transfers *t = xcalloc(1, sizeof *t);
    t->options = *options;
    t->multi = curl_multi_init();
    if (t->multi == NULL) {
        free(t);
        return ERR_INTERNAL;
    }
    (void)curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, options->connections_kept);
    *ret = t;
    return ERR_OK;
}

static void transfer_free(struct transfer *x)
{
    if (x->easy != NULL) {
        (void)curl_multi_remove_handle(x->owner->multi, x->easy);
        curl_easy_cleanup(x->easy);
    }
    curl_slist_free_all(x->headers);
    buf_deinit(&x->body);
    free(x);
}

static void unlink_transfer(struct transfer *x)
{
    struct transfers *t = x->owner;
    if (x->previous != NULL) {
        x->previous->next = x->next;
    } else {
        t->first = x->next;
    }
    if (x->next != NULL) {
        x->next->previous = x->previous;
    }
    t->active--;
}

void transfers_free(struct transfers *t)
{
    if (t == NULL) {
        return;
    }
    for (struct transfer *x = t->first, *next; x != NULL; x = next) {
        next = x->next;
        transfer_free(x);
    }
    (void)curl_multi_cleanup(t->multi);
    free(t);
}

/* ---- callbacks of libcurl ---- */

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer *x = ctx;
    (void)purpose;
    if (!x->owner->options.allow_private && !address_is_public(&address->addr)) {
        x->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t receive(char *bytes, size_t size, size_t count, void *ctx)
{
    struct transfer *x = ctx;
    size_t len = size * count;
    size_t room = sizeof x->kept - x->kept_len;
    size_t take = len < room ? len : room;
    memcpy(x->kept + x->kept_len, bytes, take);
    x->kept_len += take;
    x->received += len;
    return x->received > ANSWER_MAX ? 0 : len;
}

/* Also those of interim answers, of which there may be any number. */
static size_t receive_header(const char *bytes, size_t size, size_t count, void *ctx)
{
    struct transfer *x = ctx;
    (void)bytes;
    x->headers_received += size * count;
    return x->headers_received > HEADERS_MAX ? 0 : size * count;
}

/* ---- beginning ---- */

static bool add_header(struct transfer *x, const char *line)
{
    struct curl_slist *longer = curl_slist_append(x->headers, line);
    x->headers = longer != NULL ? longer : x->headers;
    return longer != NULL;
}

static bool set_headers(struct transfer *x, const struct transfer_request *request)
{
    char id[HEADER_MAX];
    char timestamp[HEADER_MAX];
    char signature[HEADER_MAX];
    (void)snprintf(id, sizeof id, "webhook-id: %s", request->id);
    (void)snprintf(timestamp, sizeof timestamp, "webhook-timestamp: %" PRId64,
                   request->timestamp_s);
    (void)snprintf(signature, sizeof signature, "webhook-signature: %s", request->signature);
    return add_header(x, CONTENT_TYPE) && add_header(x, "Expect:") && add_header(x, id) &&
           add_header(x, timestamp) && add_header(x, signature) &&
           curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers) == CURLE_OK;
}

/* What makes it safe: every refusal here is one that must not be lost, so each is checked. */
static bool set_limits(struct transfer *x)
{
    const struct transfers_options *o = &x->owner->options;
    CURL *easy = x->easy;
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, o->allow_http ? "http,https" : "https") ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           (o->ca_file == NULL || curl_easy_setopt(easy, CURLOPT_CAINFO, o->ca_file) == CURLE_OK) &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, x) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, o->connect_timeout_ms) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, o->timeout_ms) == CURLE_OK &&
           /* without it the end of a transfer waits for the resolver, however long a name server
              that its customer runs takes, and everybody's deliveries with it */
           curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
}

static bool set_request(struct transfer *x, const struct transfer_request *request)
{
    CURL *easy = x->easy;
    return set_headers(x, request) &&
           curl_easy_setopt(easy, CURLOPT_URL, request->url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_USERAGENT, AGENT) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body->len) ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body->ptr) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, x) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, receive_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, x) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->error) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PRIVATE, x) == CURLE_OK;
}

err_t transfers_start(struct transfers *t, const struct transfer_request *request)
{
    struct transfer *x = xcalloc(1, sizeof *x);
    x->owner = t;
    x->token = request->token;
    x->started_ms = clock_mono_ms(&clock_system);
    x->easy = curl_easy_init();
    if (x->easy == NULL || !set_limits(x) || !set_request(x, request) ||
        curl_multi_add_handle(t->multi, x->easy) != CURLM_OK) {
        transfer_free(x);
        return ERR_INTERNAL;
    }
    x->body = *request->body; /* the bytes stay where libcurl was told they are */
    *request->body = BUF_INIT(request->body->max);
    x->next = t->first;
    if (t->first != NULL) {
        t->first->previous = x;
    }
    t->first = x;
    t->active++;
    return ERR_OK;
}

/* ---- ending ---- */

/* What was kept of the answer, as text that JSON can hold. */
static void make_printable(const struct transfer *x, char out[WEBHOOK_RESPONSE_MAX + 1])
{
    size_t len = 0;
    for (size_t i = 0; i < x->kept_len;) {
        struct span rest = span_of(x->kept + i, x->kept_len - i);
        size_t sequence = utf8_sequence(rest);
        bool plain = sequence > 1 || (sequence == 1 && x->kept[i] >= 0x20 && x->kept[i] != 0x7f);
        if (plain) {
            memcpy(out + len, x->kept + i, sequence);
        } else {
            sequence = 1;
            out[len] = '?';
        }
        len += sequence;
        i += sequence;
    }
    out[len] = '\0';
}

static void describe_failure(const struct transfer *x, CURLcode code, struct transfer_result *r)
{
    if (x->refused) {
        (void)snprintf(r->error, sizeof r->error, "the address is not public");
    } else if (x->headers_received > HEADERS_MAX) {
        (void)snprintf(r->error, sizeof r->error, "the answer has more than %zu bytes of headers",
                       HEADERS_MAX);
    } else {
        (void)snprintf(r->error, sizeof r->error, "%.*s", WEBHOOK_ERROR_SIZE - 1,
                       x->error[0] != '\0' ? x->error : curl_easy_strerror(code));
    }
    for (char *c = r->error; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e) {
            *c = '?';
        }
    }
}

static void describe_answer(struct transfer *x, struct transfer_result *r)
{
    char *peer = NULL;
    struct curl_header *header = NULL;
    if (curl_easy_getinfo(x->easy, CURLINFO_PRIMARY_IP, &peer) == CURLE_OK && peer != NULL &&
        address_text_is_public(peer)) {
        make_printable(x, r->response);
    }
    if (curl_easy_header(x->easy, "Retry-After", 0, CURLH_HEADER, -1, &header) == CURLHE_OK &&
        retry_after_parse(header->value, clock_now_ms(&clock_system), &r->retry_after_ms) !=
            ERR_OK) {
        r->retry_after_ms = 0;
    }
}

static void finish(struct transfer *x, CURLcode code)
{
    struct transfers *t = x->owner;
    struct transfer_result result = {.duration_ms = clock_mono_ms(&clock_system) - x->started_ms};
    /* an answer longer than we read is still an answer */
    bool cut = code == CURLE_WRITE_ERROR && x->received > ANSWER_MAX;
    if ((code == CURLE_OK || cut) &&
        curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &result.status) == CURLE_OK &&
        result.status > 0) {
        describe_answer(x, &result);
    } else {
        result.status = 0;
        describe_failure(x, code, &result);
    }
    void *token = x->token;
    unlink_transfer(x);
    transfer_free(x);
    t->options.done(t->options.ctx, token, &result);
}

void transfers_run(struct transfers *t, int timeout_ms)
{
    int running = 0;
    int left = 0;
    CURLMcode code = curl_multi_perform(t->multi, &running);
    if (code == CURLM_OK && timeout_ms > 0 && running > 0) {
        code = curl_multi_poll(t->multi, NULL, 0, timeout_ms, NULL);
    }
    if (code != CURLM_OK) {
        log_limited(LOG_LEVEL_ERROR, NULL, "transfers_failed",
                    LOG_STR("text", curl_multi_strerror(code)));
    }
    for (CURLMsg *m; (m = curl_multi_info_read(t->multi, &left)) != NULL;) {
        struct transfer *x = NULL;
        if (m->msg == CURLMSG_DONE &&
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &x) == CURLE_OK) {
            finish(x, m->data.result);
        }
    }
}

size_t transfers_active(const struct transfers *t)
{
    return t->active;
}
