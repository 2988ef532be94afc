/*
 * The device's life against a scripted server: each row says which exchange is expected next and
 * what comes back. Time is a test clock; nothing waits.
 */
#include "device/session.h"

#include <assert.h>

#include "common/id.h"
#include "device/json.h"
#include "device_fixture.h"

#define PROFILE "000000abcdefghijklmnOP"
#define OP1     "6ba7b810-9dad-11d1-80b4-00c04fd430c1"
#define OP2     "6ba7b810-9dad-11d1-80b4-00c04fd430c2"
#define T0      INT64_C(1795239000000)

struct world {
    struct clock_test clock;
    struct device_options options;
    struct device *device;
    struct fixture_ca ca;
    struct device_session session;
    uint64_t next_serial;
    char last_signature[DEVICE_SIGNATURE_TEXT_SIZE];
    struct buf last_body;
};

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    clock_test_init(&w->clock, T0);
    w->options = (struct device_options){
        .clock = &w->clock.clock, .flood_override_s = -1, .model = "m1", .agent = "test"};
    w->ca = fixture_ca_new("ca");
    w->next_serial = 0x10;
    w->last_body = BUF_INIT(DEVICE_REQUEST_MAX);
    assert_ok(device_open(storage_new_memory(), &w->options, &w->device, NULL));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    device_free(w->device);
    fixture_ca_free(&w->ca);
    buf_deinit(&w->last_body);
    free(w);
    return 0;
}

static void power_cycle(struct world *w)
{
    struct storage *fresh = storage_new_memory();
    CLEANUP_BUF struct buf image = BUF_INIT((size_t)256 * 1024);
    assert_ok(storage_export_memory(w->device->storage, &image));
    assert_ok(storage_import_memory(fresh, buf_span(&image)));
    device_free(w->device);
    w->device = NULL;
    assert_ok(device_open(fresh, &w->options, &w->device, NULL));
    assert(w->device != NULL); /* for the analyzer, which cannot know */
}

/* ---- the server ---- */

enum reply {
    REPLY_BODY,     /* status and body of the row */
    REPLY_NOTHING,  /* the connection broke */
    REPLY_GRANT,    /* a certificate over the CSR of the request */
    REPLY_RENEWED,  /* a certificate over the key in use */
    REPLY_VERDICT,  /* installed */
    REPLY_STRANGER, /* a certificate over somebody else's key */
};

struct row {
    enum device_exchange expected;
    enum reply reply;
    int status;
    int64_t retry_after_s; /* 0: none sent */
    const char *body;
};
#define BODY(exchange, status, body)                                                               \
    {                                                                                              \
        exchange, REPLY_BODY, status, 0, body                                                      \
    }
#define LATER(exchange, status, seconds)                                                           \
    {                                                                                              \
        exchange, REPLY_BODY, status, seconds, "{}"                                                \
    }
#define DOES(exchange, reply)                                                                      \
    {                                                                                              \
        exchange, reply, 200, 0, NULL                                                              \
    }

#define IDLE       "{\"work\":null,\"next_heartbeat_s\":604800,\"token\":\"AAEC\"}"
#define WORK(k, n) "{\"work\":{\"operation\":\"" OP2 "\",\"kind\":\"" k "\",\"new_key\":" n "}}"
#define ERROR(t)   "{\"object\":\"error\",\"type\":\"" t "\",\"message\":\"because\"}"
#define WITHOUT                                                                                    \
    "{\"state\":\"allocated\",\"reason\":\"not_listed\",\"settings\":{\"heartbeat_interval_s\":"   \
    "86400,"                                                                                       \
    "\"flood_interval_s\":60},\"next_heartbeat_s\":3600}"

static void public_key_of_csr(struct span body, EVP_PKEY **ret)
{
    struct device_json doc;
    CLEANUP_BUF struct buf text = BUF_INIT(DEVICE_REQUEST_MAX);
    uint8_t der[4096];
    size_t len = 0;
    assert_ok(device_json_parse(&doc, body));
    assert_ok(device_json_string(device_json_member(&doc, &doc.values[0], "csr"), &text));
    assert_ok(base64_decode(buf_span(&text), BASE64_STANDARD, der, sizeof der, &len));
    const unsigned char *at = der;
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)len);
    assert_non_null(request);
    *ret = X509_REQ_get_pubkey(request);
    X509_REQ_free(request);
}

/* A pick-up's or bootstrap's answer with a certificate over `key`. */
static void write_grant(struct world *w, const char *operation, EVP_PKEY *key, struct buf *to)
{
    CLEANUP_BUF struct buf der = BUF_INIT(DEVICE_CERT_MAX);
    uint64_t serial = ++w->next_serial;
    fixture_issue(&w->ca, key, serial, &der);
    (void)buf_printf(to,
                     "{\"state\":\"active\",\"domain\":\"" OP1 "\",\"operation\":\"%s\","
                     "\"serial\":\"%016llx\",\"certificate\":\"",
                     operation, (unsigned long long)serial);
    (void)base64_append(to, buf_span(&der), BASE64_STANDARD);
    (void)buf_append_str(to, "\",\"chain\":[\"");
    (void)base64_append(to, buf_span(&w->ca.der), BASE64_STANDARD);
    (void)buf_append_str(to, "\"],\"next_heartbeat_s\":604800,\"server_ca\":\"PEM\"}");
}

static void write_reply(struct world *w, const struct row *row, struct span request, struct buf *to)
{
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    const char *operation = row->expected == DEVICE_BOOTSTRAP ? OP1 : OP2;
    switch (row->reply) {
    case REPLY_BODY:
        (void)buf_append_str(to, row->body);
        break;
    case REPLY_GRANT:
        public_key_of_csr(request, &key);
        write_grant(w, operation, key, to);
        break;
    case REPLY_RENEWED:
        write_grant(w, operation, device_current_key(w->device), to);
        break;
    case REPLY_STRANGER:
        assert_ok(device_key_generate(&key));
        write_grant(w, operation, key, to);
        break;
    case REPLY_VERDICT:
        (void)buf_printf(to, "{\"operation\":\"%s\",\"serial\":\"%s\",\"status\":\"installed\"}",
                         w->device->state.operation, device_current_serial(w->device));
        break;
    case REPLY_NOTHING:
        break;
    }
}

static void remember(struct world *w, const struct device_http_request *request)
{
    buf_clear(&w->last_body);
    assert_ok(buf_append_span(&w->last_body, request->body));
    (void)snprintf(w->last_signature, sizeof w->last_signature, "%s", request->signature);
}

static void answer_row(struct world *w, const struct row *row,
                       const struct device_http_request *request)
{
    assert_string_equal(request->path, device_exchange_path(row->expected));
    assert_int_equal(request->signature[0] != 0, row->expected != DEVICE_HEARTBEAT);
    remember(w, request);
    if (row->reply == REPLY_NOTHING) {
        struct fault why;
        (void)fault_set(&why, ERR_UNAVAILABLE, "", "", "the connection broke");
        device_session_failed(&w->session, &why, false);
        return;
    }
    struct device_http_answer a = {.status = row->status,
                                   .retry_after_s =
                                       row->retry_after_s > 0 ? row->retry_after_s : -1,
                                   .body = BUF_INIT(DEVICE_ANSWER_MAX)};
    write_reply(w, row, request->body, &a.body);
    device_session_answer(&w->session, &a);
    device_http_answer_deinit(&a);
}

/* Plays the rows in order; every one must be asked for, and nothing else. Waiting is skipped. */
static const struct device_outcome *play(struct world *w, const struct row *rows, size_t count)
{
    struct device_http_request request;
    int64_t wait_ms = 0;
    size_t at = 0;
    assert_ok(device_session_begin(&w->session, w->device, DEVICE_VISIT_BOUND_MS, NULL));
    for (;;) {
        switch (device_session_step(&w->session, &request, &wait_ms)) {
        case DEVICE_STEP_SEND:
            assert(at < count);
            answer_row(w, &rows[at++], &request);
            break;
        case DEVICE_STEP_WAIT:
            clock_test_advance(&w->clock, wait_ms);
            break;
        case DEVICE_STEP_DONE:
            assert_int_equal(at, count);
            device_session_end(&w->session);
            return &w->session.outcome;
        }
    }
}
#define PLAY(w, ...)                                                                               \
    play(w, (const struct row[]){__VA_ARGS__},                                                     \
         sizeof((const struct row[]){__VA_ARGS__}) / sizeof(struct row))

static void expect(const struct device_outcome *o, err_t err)
{
    if (o->err != err) {
        print_error("%s\n", o->fault.text);
    }
    assert_err(o->err, err);
}

static void bootstrap(struct world *w)
{
    if (w->device->profile[0] == 0) {
        assert_ok(device_seal(w->device, PROFILE, "SN-1", NULL));
    }
    expect(PLAY(w, DOES(DEVICE_BOOTSTRAP, REPLY_GRANT), DOES(DEVICE_CONFIRM, REPLY_VERDICT)),
           ERR_OK);
}

static void next_week(struct world *w)
{
    clock_test_advance(&w->clock, INT64_C(604800000));
}

/* ---- bootstrap ---- */

static void test_bootstrap(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    assert_true(w->session.outcome.bootstrapped && w->session.outcome.installed);
    assert_true(w->session.outcome.first);
    assert_int_equal(w->device->state.standing, DEVICE_STANDING_ACTIVE);
    assert_string_equal(device_current_serial(w->device), "0000000000000011");
    assert_string_equal(w->device->state.profile_reported, PROFILE);
    assert_true(w->device->state.next_heartbeat_ms == T0 + INT64_C(604800000));
    CLEANUP_BUF struct buf ca = BUF_INIT(100);
    assert_ok(storage_read(w->device->storage, DEVICE_SERVER_CA_FILE, &ca));
    assert_span(buf_span(&ca), "PEM");
}

static void member_of(struct span body, const char *name, char out[256])
{
    struct device_json doc;
    assert_ok(device_json_parse(&doc, body));
    assert_ok(device_json_text(device_json_member(&doc, &doc.values[0], name), out, 256));
}

/* Power fails after the answer was lost: the same nonce and the same key ask again. */
static void test_interrupted_bootstrap_starts_over(void **state)
{
    struct world *w = *state;
    char nonce[2][256];
    EVP_PKEY *key[2] = {NULL, NULL};
    assert_ok(device_seal(w->device, PROFILE, "", NULL));
    for (int i = 0; i < 2; i++) {
        struct device_http_request request;
        int64_t wait = 0;
        assert_ok(device_session_begin(&w->session, w->device, DEVICE_VISIT_BOUND_MS, NULL));
        assert_int_equal(device_session_step(&w->session, &request, &wait), DEVICE_STEP_SEND);
        member_of(request.body, "install_nonce", nonce[i]);
        public_key_of_csr(request.body, &key[i]);
        device_session_end(&w->session);
        power_cycle(w);
    }
    assert_string_equal(nonce[0], nonce[1]);
    assert_int_equal(EVP_PKEY_eq(key[0], key[1]), 1);
    EVP_PKEY_free(key[0]);
    EVP_PKEY_free(key[1]);
    bootstrap(w);
}

/* Stands in for a power cut between the state's replacements: a disk that takes no certificate. */
static const struct storage_ops *whole_disk;

static err_t write_no_certificate(struct storage *s, const char *name, struct span bytes)
{
    return strncmp(name, "certificate", strlen("certificate")) == 0
               ? ERR_LIMIT
               : whole_disk->write(s, name, bytes);
}

/* The answer came and was not carried out: the next visit asks with the same key, and ends with the
 * certificate. */
static void test_bootstrap_cut_short_is_finished(void **state)
{
    struct world *w = *state;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *before = NULL;
    assert_ok(device_seal(w->device, PROFILE, "SN-1", NULL));
    whole_disk = w->device->storage->ops;
    struct storage_ops full = *whole_disk;
    full.write = write_no_certificate;
    w->device->storage->ops = &full;
    expect(PLAY(w, DOES(DEVICE_BOOTSTRAP, REPLY_GRANT)), ERR_LIMIT);
    public_key_of_csr(buf_span(&w->last_body), &before);
    w->device->storage->ops = whole_disk;
    power_cycle(w);
    assert_true(device_needs_bootstrap(w->device));
    expect(PLAY(w, BODY(DEVICE_BOOTSTRAP, 503, "{}"), DOES(DEVICE_BOOTSTRAP, REPLY_GRANT),
                DOES(DEVICE_CONFIRM, REPLY_VERDICT)),
           ERR_OK);
    assert_int_equal(EVP_PKEY_eq(device_current_key(w->device), before), 1);
    assert_false(device_needs_bootstrap(w->device));
}

/* Active without a certificate (none is issued unasked, or the first one was given up): the device
 * does not ask again. Its key waits for work that may come, and an interrupted pick-up is no
 * bootstrap. */
static void test_active_without_certificate(void **state)
{
    struct world *w = *state;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *waiting = NULL;
    assert_ok(device_seal(w->device, PROFILE, "SN-1", NULL));
    expect(PLAY(w, BODY(DEVICE_BOOTSTRAP, 200, "{\"state\":\"active\"}")), ERR_OK);
    public_key_of_csr(buf_span(&w->last_body), &waiting);
    assert_int_equal(w->device->state.standing, DEVICE_STANDING_ACTIVE);
    assert_false(device_needs_bootstrap(w->device));
    power_cycle(w);
    assert_false(device_needs_bootstrap(w->device));
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("issue", "true")),
                LATER(DEVICE_PICKUP, 503, 3600)),
           ERR_UNAVAILABLE);
    assert_false(device_needs_bootstrap(w->device));
    next_week(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("issue", "true")),
                DOES(DEVICE_PICKUP, REPLY_GRANT), DOES(DEVICE_CONFIRM, REPLY_VERDICT)),
           ERR_OK);
    assert_int_equal(EVP_PKEY_eq(device_current_key(w->device), waiting), 1);
}

/* Given up at the server between the answer that was lost and the next one: no reason to go on. */
static void test_cut_short_then_given_up(void **state)
{
    struct world *w = *state;
    EVP_PKEY *key = NULL;
    assert_ok(device_new_key(w->device, OP1, &key));
    expect(PLAY(w, BODY(DEVICE_BOOTSTRAP, 200, "{\"state\":\"active\"}")), ERR_OK);
    assert_string_equal(w->device->state.operation, "");
    assert_false(device_needs_bootstrap(w->device));
}

/* A first certificate that cannot be used is reported by a heartbeat, not asked for again. */
static void test_unusable_first_certificate(void **state)
{
    struct world *w = *state;
    expect(PLAY(w, DOES(DEVICE_BOOTSTRAP, REPLY_STRANGER)), ERR_INVALID);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, IDLE)), ERR_OK);
    assert_non_null(strstr(buf_cstr(&w->last_body), "wrong_key"));
}

/* Without a profile the device is registered unowned; sealed later it bootstraps again. */
static void test_two_stages(void **state)
{
    struct world *w = *state;
    expect(PLAY(w, BODY(DEVICE_BOOTSTRAP, 200, "{\"state\":\"registered\"}")), ERR_OK);
    assert_int_equal(w->device->state.standing, DEVICE_STANDING_REGISTERED);
    next_week(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, IDLE)), ERR_OK);
    assert_ok(device_seal(w->device, PROFILE, "SN-1", NULL));
    bootstrap(w);
}

/* Allocated: nothing yet; unblocked later the first certificate comes as work, over the key that
 * waits. */
static void test_allocated_then_issued(void **state)
{
    struct world *w = *state;
    expect(PLAY(w, BODY(DEVICE_BOOTSTRAP, 200, WITHOUT)), ERR_OK);
    assert_int_equal(w->device->state.standing, DEVICE_STANDING_ALLOCATED);
    assert_string_equal(w->device->state.standing_reason, "not_listed");
    assert_int_equal(w->device->state.heartbeat_interval_s, 86400);
    assert_int_equal(w->device->state.flood_interval_s, 60);
    power_cycle(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("issue", "true")),
                DOES(DEVICE_PICKUP, REPLY_GRANT), DOES(DEVICE_CONFIRM, REPLY_VERDICT)),
           ERR_OK);
    assert_true(w->session.outcome.installed && !w->session.outcome.first);
    assert_string_equal(device_current_serial(w->device), "0000000000000011");
    assert_int_equal(w->device->state.standing, DEVICE_STANDING_ACTIVE);
    assert_string_equal(w->device->state.standing_reason, "");
}

static void test_refused_bootstrap_keeps_trying(void **state)
{
    struct world *w = *state;
    expect(PLAY(w, BODY(DEVICE_BOOTSTRAP, 409, ERROR("duplicate"))), ERR_CONFLICT);
    assert_string_equal(w->session.outcome.fault.code, "duplicate");
    assert_non_null(strstr(w->device->state.last_error, "because"));
    assert_int_equal(w->device->state.standing, DEVICE_STANDING_NEW);
    bootstrap(w);
    assert_string_equal(w->device->state.last_error, "");
}

/* ---- heartbeats ---- */

static void test_idle_heartbeat_and_local_refusal(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    char first[256];
    char second[256];
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, IDLE)), ERR_OK);
    member_of(buf_span(&w->last_body), "sequence", first);
    struct fault fault;
    assert_err(device_session_begin(&w->session, w->device, DEVICE_VISIT_BOUND_MS, &fault),
               ERR_BUSY);
    assert_non_null(strstr(fault.text, "300 s"));
    power_cycle(w);
    assert_err(device_session_begin(&w->session, w->device, DEVICE_VISIT_BOUND_MS, &fault),
               ERR_BUSY);
    clock_test_advance(&w->clock, 300000);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, IDLE)), ERR_OK);
    member_of(buf_span(&w->last_body), "sequence", second);
    assert_true(strtoull(second, NULL, 10) > strtoull(first, NULL, 10));
    char text[256];
    member_of(buf_span(&w->last_body), "token", text);
    assert_string_equal(text, "AAEC");
    member_of(buf_span(&w->last_body), "installed", text);
    assert_string_equal(text, "0000000000000011");
}

static void test_server_refuses_too_early(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    expect(PLAY(w, LATER(DEVICE_HEARTBEAT, 429, 1000)), ERR_BUSY);
    clock_test_advance(&w->clock, 999000);
    assert_err(device_session_begin(&w->session, w->device, DEVICE_VISIT_BOUND_MS, NULL), ERR_BUSY);
    clock_test_advance(&w->clock, 1000);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, IDLE)), ERR_OK);
}

static void test_unknown_device_bootstraps_again(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 409, ERROR("not_bootstrapped")),
                DOES(DEVICE_BOOTSTRAP, REPLY_GRANT), DOES(DEVICE_CONFIRM, REPLY_VERDICT)),
           ERR_OK);
    assert_string_equal(device_current_serial(w->device), "0000000000000012");
}

/* A token that the server no longer reads is not shown again, and not twice in a visit. */
static void test_unreadable_token_is_dropped(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, IDLE)), ERR_OK);
    next_week(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 403, ERROR("bad_token")),
                BODY(DEVICE_HEARTBEAT, 403, ERROR("bad_token"))),
           ERR_FORBIDDEN);
    assert_null(strstr(buf_cstr(&w->last_body), "token"));
}

/* ---- work ---- */

static void test_renew_keeps_the_key(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    EVP_PKEY *before = device_current_key(w->device);
    (void)EVP_PKEY_up_ref(before);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("renew", "false")),
                DOES(DEVICE_PICKUP, REPLY_RENEWED), DOES(DEVICE_CONFIRM, REPLY_VERDICT)),
           ERR_OK);
    assert_string_equal(w->session.outcome.kind, "renew");
    assert_true(w->session.outcome.installed);
    assert_int_equal(EVP_PKEY_eq(before, device_current_key(w->device)), 1);
    assert_string_equal(device_current_serial(w->device), "0000000000000012");
    EVP_PKEY_free(before);
}

static void test_update_makes_a_key(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    EVP_PKEY *before = device_current_key(w->device);
    (void)EVP_PKEY_up_ref(before);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("update", "true")),
                DOES(DEVICE_PICKUP, REPLY_GRANT), DOES(DEVICE_CONFIRM, REPLY_VERDICT)),
           ERR_OK);
    assert_int_equal(EVP_PKEY_eq(before, device_current_key(w->device)), 0);
    EVP_PKEY_free(before);
}

/* Each repetition of a request is the same to the byte, its signature included. */
static void test_repeats_are_identical(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    struct device_http_request request;
    int64_t wait = 0;
    assert_ok(device_session_begin(&w->session, w->device, DEVICE_VISIT_BOUND_MS, NULL));
    static const struct row work = BODY(DEVICE_HEARTBEAT, 200, WORK("renew", "false"));
    static const struct row later = LATER(DEVICE_PICKUP, 202, 3);
    assert_int_equal(device_session_step(&w->session, &request, &wait), DEVICE_STEP_SEND);
    answer_row(w, &work, &request);
    assert_int_equal(device_session_step(&w->session, &request, &wait), DEVICE_STEP_SEND);
    answer_row(w, &later, &request);
    CLEANUP_BUF struct buf body = BUF_INIT(DEVICE_REQUEST_MAX);
    assert_ok(buf_append_span(&body, buf_span(&w->last_body)));
    char signature[DEVICE_SIGNATURE_TEXT_SIZE];
    memcpy(signature, w->last_signature, sizeof signature);
    assert_int_equal(device_session_step(&w->session, &request, &wait), DEVICE_STEP_WAIT);
    assert_int_equal(wait, 3000);
    clock_test_advance(&w->clock, wait);
    assert_int_equal(device_session_step(&w->session, &request, &wait), DEVICE_STEP_SEND);
    assert_true(span_eq(request.body, buf_span(&body)));
    assert_string_equal(request.signature, signature);
    device_session_end(&w->session);
}

static void test_waits_and_broken_connections(void **state)
{
    struct world *w = *state;
    assert_ok(device_seal(w->device, PROFILE, "SN-1", NULL));
    expect(PLAY(w, DOES(DEVICE_BOOTSTRAP, REPLY_NOTHING), LATER(DEVICE_BOOTSTRAP, 503, 5),
                LATER(DEVICE_BOOTSTRAP, 500, 0), LATER(DEVICE_BOOTSTRAP, 202, 0),
                DOES(DEVICE_BOOTSTRAP, REPLY_GRANT), LATER(DEVICE_CONFIRM, 202, 1),
                DOES(DEVICE_CONFIRM, REPLY_NOTHING), LATER(DEVICE_CONFIRM, 429, 1),
                DOES(DEVICE_CONFIRM, REPLY_VERDICT)),
           ERR_OK);
    assert_int_equal(w->session.outcome.retries, 7);
    assert_true(clock_now_ms(&w->clock.clock) - T0 < DEVICE_VISIT_BOUND_MS);
}

/* The bound of a visit holds whatever the server says. */
static void test_visit_is_bounded(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    expect(PLAY(w, LATER(DEVICE_HEARTBEAT, 503, 3600)), ERR_UNAVAILABLE);
    assert_err(device_session_begin(&w->session, w->device, DEVICE_VISIT_BOUND_MS, NULL), ERR_BUSY);
    clock_test_advance(&w->clock, 3600000);
    struct device_http_request request;
    int64_t wait = 0;
    int sent = 0;
    int64_t start = clock_mono_ms(&w->clock.clock);
    static const struct row broken = DOES(DEVICE_HEARTBEAT, REPLY_NOTHING);
    assert_ok(device_session_begin(&w->session, w->device, DEVICE_VISIT_BOUND_MS, NULL));
    for (;;) {
        enum device_step step = device_session_step(&w->session, &request, &wait);
        if (step == DEVICE_STEP_DONE) {
            break;
        }
        if (step == DEVICE_STEP_SEND) {
            answer_row(w, &broken, &request);
            sent++;
        } else {
            clock_test_advance(&w->clock, wait);
        }
    }
    device_session_end(&w->session);
    assert_err(w->session.outcome.err, ERR_UNAVAILABLE);
    assert_true(clock_mono_ms(&w->clock.clock) - start <= DEVICE_VISIT_BOUND_MS);
    assert_true(sent >= 6 && sent < 40);
}

/* A device that nobody vouches for is put off for longer than a visit lasts. The same message goes
 * out again once the server has had its time. */
static void test_put_off_bootstrap(void **state)
{
    struct world *w = *state;
    expect(PLAY(w, LATER(DEVICE_BOOTSTRAP, 429, 2), LATER(DEVICE_BOOTSTRAP, 429, 3600)),
           ERR_UNAVAILABLE);
    assert_int_equal(w->session.outcome.stay_away_ms, 3600000);
    assert_true(device_needs_bootstrap(w->device));
    expect(PLAY(w, LATER(DEVICE_BOOTSTRAP, 503, 0), LATER(DEVICE_BOOTSTRAP, 429, 4000)),
           ERR_UNAVAILABLE);
    assert_int_equal(w->session.outcome.stay_away_ms, 4000000);
    expect(PLAY(w, BODY(DEVICE_BOOTSTRAP, 200, "{\"state\":\"registered\"}")), ERR_OK);
    assert_int_equal(w->session.outcome.stay_away_ms, 0);
}

/* The confirmation is owed over power cuts and visits, and comes first. */
static void test_confirmation_is_owed(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("renew", "false")),
                DOES(DEVICE_PICKUP, REPLY_RENEWED), LATER(DEVICE_CONFIRM, 503, 3600)),
           ERR_UNAVAILABLE);
    assert_string_equal(device_current_serial(w->device), "0000000000000012");
    power_cycle(w);
    expect(PLAY(w, DOES(DEVICE_CONFIRM, REPLY_VERDICT)), ERR_OK); /* inside the flood interval */
    assert_true(w->session.outcome.installed);
    power_cycle(w);
    next_week(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, IDLE)), ERR_OK);
}

static void test_owed_confirmation_then_heartbeat(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("renew", "false")),
                DOES(DEVICE_PICKUP, REPLY_RENEWED), LATER(DEVICE_CONFIRM, 503, 3600)),
           ERR_UNAVAILABLE);
    next_week(w);
    expect(PLAY(w, DOES(DEVICE_CONFIRM, REPLY_VERDICT), BODY(DEVICE_HEARTBEAT, 200, IDLE)), ERR_OK);
}

static void test_refused_confirmation_goes_back(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("renew", "false")),
                DOES(DEVICE_PICKUP, REPLY_RENEWED), BODY(DEVICE_CONFIRM, 409, ERROR("revoked"))),
           ERR_CONFLICT);
    assert_string_equal(device_current_serial(w->device), "0000000000000011");
    next_week(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, IDLE)), ERR_OK);
    assert_non_null(strstr(buf_cstr(&w->last_body), "\"operation\":\"" OP2 "\""));
    assert_non_null(strstr(buf_cstr(&w->last_body), "confirmation refused: revoked"));
    next_week(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, IDLE)), ERR_OK); /* said once */
    assert_null(strstr(buf_cstr(&w->last_body), "refused"));
}

/* A proxy's error page is no verdict. */
static void test_foreign_error_undoes_nothing(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("renew", "false")),
                DOES(DEVICE_PICKUP, REPLY_RENEWED), BODY(DEVICE_CONFIRM, 403, "<html>no</html>")),
           ERR_FORBIDDEN);
    assert_string_equal(device_current_serial(w->device), "0000000000000012");
    expect(PLAY(w, DOES(DEVICE_CONFIRM, REPLY_VERDICT)), ERR_OK);
}

/* An answer that confirms something else is not the verdict. */
static void test_wrong_verdict(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("renew", "false")),
                DOES(DEVICE_PICKUP, REPLY_RENEWED),
                BODY(DEVICE_CONFIRM, 200,
                     "{\"operation\":\"" OP2 "\",\"serial\":\"11\",\"status\":\"installed\"}")),
           ERR_INVALID);
    assert_int_equal(w->device->state.stage, DEVICE_STAGE_CONFIRM);
}

static void test_unusable_certificate_is_reported(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("update", "true")),
                DOES(DEVICE_PICKUP, REPLY_STRANGER)),
           ERR_INVALID);
    assert_string_equal(w->session.outcome.fault.code, "wrong_key");
    assert_string_equal(device_current_serial(w->device), "0000000000000011");
    next_week(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, IDLE)), ERR_OK);
    assert_non_null(strstr(buf_cstr(&w->last_body), "wrong_key"));
}

static void test_work_that_cannot_be_done(void **state)
{
    struct world *w = *state;
    bootstrap(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("dance", "false"))), ERR_UNSUPPORTED);
    next_week(w);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, IDLE)), ERR_OK);
    assert_non_null(strstr(buf_cstr(&w->last_body), "unsupported"));
}

static void test_nothing_to_renew(void **state)
{
    struct world *w = *state;
    expect(PLAY(w, BODY(DEVICE_BOOTSTRAP, 200, WITHOUT)), ERR_OK);
    expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, WORK("renew", "false"))), ERR_UNSUPPORTED);
    assert_non_null(strstr(w->device->state.failed_reason, "no_key"));
}

/* A device restored from an old backup finds numbers that the server has not seen. */
static void test_stale_sequence_is_overtaken(void **state)
{
    struct world *w = *state;
    assert_ok(device_seal(w->device, PROFILE, "SN-1", NULL));
    expect(PLAY(w, BODY(DEVICE_BOOTSTRAP, 409, ERROR("stale_sequence")),
                BODY(DEVICE_BOOTSTRAP, 409, ERROR("stale_sequence")),
                DOES(DEVICE_BOOTSTRAP, REPLY_GRANT), DOES(DEVICE_CONFIRM, REPLY_VERDICT)),
           ERR_OK);
    uint64_t sequence = 0;
    uint8_t signature[DEVICE_SIGNATURE_MAX];
    size_t len = 0;
    assert_ok(device_signature_parse(span_str(w->last_signature), &sequence, signature, &len));
    assert_true(sequence > 5000);
}

static void test_bad_answers(void **state)
{
    struct world *w = *state;
    static const char *const bootstrap_bodies[] = {
        "",
        "[]",
        "{}",
        "{\"state\":\"new\"}",
        "{\"state\":\"Active\"}",
        "{\"state\":5}",
        "{\"state\":\"active\",\"settings\":5}",
        "{\"state\":\"active\",\"next_heartbeat_s\":-1}",
        "{\"state\":\"active\",\"next_heartbeat_s\":1e9}",
        "{\"state\":\"active\",\"token\":7}",
        "{\"state\":\"active\",\"server_ca\":[]}",
        "{\"state\":\"active\",\"certificate\":\"AAAA\"}",
        "{\"state\":\"active\",\"certificate\":\"AAAA\",\"operation\":\"" OP1
        "\",\"serial\":\"1g\"}",
        "{\"state\":\"active\",\"certificate\":\"AA=A\",\"operation\":\"" OP1
        "\",\"serial\":\"11\","
        "\"chain\":[\"AAAA\"]}",
        "{\"state\":\"active\",\"certificate\":\"AAAA\",\"operation\":\"" OP1
        "\",\"serial\":\"11\","
        "\"chain\":[]}",
        "{\"state\":\"active\",\"certificate\":\"AAAA\",\"operation\":\"../../"
        "etc\",\"serial\":\"11\","
        "\"chain\":[\"AAAA\"]}"};
    for (size_t i = 0; i < sizeof bootstrap_bodies / sizeof bootstrap_bodies[0]; i++) {
        expect(PLAY(w, BODY(DEVICE_BOOTSTRAP, 200, bootstrap_bodies[i])), ERR_INVALID);
        assert_string_equal(w->session.outcome.fault.code, "bad_answer");
        assert_int_equal(w->device->state.standing, DEVICE_STANDING_NEW);
    }
    bootstrap(w);
    static const char *const heartbeat_bodies[] = {
        "{", "{\"work\":{}}", "{\"work\":[]}",
        "{\"work\":{\"operation\":\"x\",\"kind\":\"renew\"}}",
        ("{\"work\":{\"operation\":\"" OP2 "\",\"kind\":\"renew\",\"new_key\":1}}")};
    for (size_t i = 0; i < sizeof heartbeat_bodies / sizeof heartbeat_bodies[0]; i++) {
        next_week(w);
        expect(PLAY(w, BODY(DEVICE_HEARTBEAT, 200, heartbeat_bodies[i])), ERR_INVALID);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_bootstrap),
        T(test_interrupted_bootstrap_starts_over),
        T(test_bootstrap_cut_short_is_finished),
        T(test_active_without_certificate),
        T(test_cut_short_then_given_up),
        T(test_unusable_first_certificate),
        T(test_two_stages),
        T(test_allocated_then_issued),
        T(test_refused_bootstrap_keeps_trying),
        T(test_idle_heartbeat_and_local_refusal),
        T(test_server_refuses_too_early),
        T(test_unknown_device_bootstraps_again),
        T(test_unreadable_token_is_dropped),
        T(test_renew_keeps_the_key),
        T(test_update_makes_a_key),
        T(test_repeats_are_identical),
        T(test_waits_and_broken_connections),
        T(test_visit_is_bounded),
        T(test_put_off_bootstrap),
        T(test_confirmation_is_owed),
        T(test_owed_confirmation_then_heartbeat),
        T(test_refused_confirmation_goes_back),
        T(test_foreign_error_undoes_nothing),
        T(test_wrong_verdict),
        T(test_unusable_certificate_is_reported),
        T(test_work_that_cannot_be_done),
        T(test_nothing_to_renew),
        T(test_stale_sequence_is_overtaken),
        T(test_bad_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
