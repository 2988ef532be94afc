/*
 * The registry's decisions. What would break a user: a quota that leaks or lets through, a repeated
 * request that makes a second thing, one domain changing another's things, a secret in an event.
 */
#include "test_support.h"

#include <stdio.h>

#include "proto/topics.h"
#include "registry_decide.h"

#define DOMAIN  "0f8fad5b-d9cb-469f-a165-70867728950e"
#define ID_1    "11111111-1111-4111-8111-111111111111"
#define ID_2    "22222222-2222-4222-8222-222222222222"
#define ID_3    "33333333-3333-4333-8333-333333333333"
#define CA_1    "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
#define NOW     INT64_C(1795000000000)
#define UID_1   "00112233445566aa"
#define UID_2   "00112233445566bb"
#define PROFILE "0000010123456789abcdef"

#define KEY_BODY                                                                                   \
    "{\"id\":\"" ID_2 "\",\"name\":\"ci\","                                                        \
    "\"secret_hash\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}"
#define PROFILE_BODY_(flood)                                                                       \
    "{\"uid\":\"" PROFILE "\",\"name\":\"meters\",\"ca\":\"" CA_1                                  \
    "\",\"heartbeat_interval_s\":3600,\"flood_interval_s\":" flood ",\"whitelist\":\"on\","        \
    "\"key_algorithm\":\"EC-P256\",\"features\":{\"zero_touch\":true}}"

/* ---- a registry in memory: what the processor and the view do ---- */

struct fixture {
    struct registry_record *things[64];
    char keys[64][REGISTRY_KEY_SIZE];
    unsigned count;
    struct registry_outcome out;
    struct fault fault;
    int64_t now_ms;
};

static struct registry_record **slot(struct fixture *f, const char *key)
{
    for (unsigned i = 0; i < f->count; i++) {
        if (strcmp(f->keys[i], key) == 0) {
            return &f->things[i];
        }
    }
    assert_true(f->count < 64);
    (void)snprintf(f->keys[f->count], REGISTRY_KEY_SIZE, "%s", key);
    return &f->things[f->count++];
}

static struct registry_record *find(struct fixture *f, enum registry_kind kind, const char *id)
{
    char key[REGISTRY_KEY_SIZE];
    registry_key(DOMAIN, kind, id, key);
    return *slot(f, key);
}

static void apply(struct fixture *f, const struct registry_request *rq)
{
    for (unsigned i = 0; i < f->out.put_count; i++) {
        struct registry_record **s = slot(f, rq->keys[f->out.puts[i].entity]);
        registry_record_free(*s);
        *s = TAKE(f->out.puts[i].record);
    }
}

static err_t run(struct fixture *f, const char *type, const char *id, const char *hash,
                 const char *body)
{
    char text[8192];
    (void)snprintf(
        text, sizeof text,
        "{\"id\":\"%s\",\"type\":\"%s\",\"time\":\"2026-11-21T05:30:00.000Z\",\"domain\":"
        "\"" DOMAIN "\",\"actor\":{\"kind\":\"access-key\",\"id\":\"x\"},\"hash\":\"%s\","
        "\"body\":%s}",
        id, type, hash, body);
    CLEANUP(registry_request_deinit) struct registry_request rq = {0};
    err_t err = registry_request_decode(span_str(text), &rq, &f->fault);
    if (err != ERR_OK) {
        return err;
    }
    const struct registry_record *states[REGISTRY_ENTITIES_MAX] = {0};
    for (unsigned i = 0; i < rq.key_count; i++) {
        states[i] = *slot(f, rq.keys[i]);
    }
    registry_outcome_deinit(&f->out);
    registry_decide(&rq, states, f->now_ms, &f->out);
    apply(f, &rq);
    for (unsigned i = 0; i < f->out.forward_count; i++) {
        f->out.forwards[i].body = NULL; /* dies with the request */
    }
    return ERR_OK;
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    f->now_ms = NOW;
    *state = f;
    return run(f, REGISTRY_REQUEST_DOMAIN_CREATE, DOMAIN, "h0",
               "{\"name\":\"Acme\",\"contacts\":[],\"account_type\":\"commercial\"}") != ERR_OK;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    registry_outcome_deinit(&f->out);
    for (unsigned i = 0; i < f->count; i++) {
        registry_record_free(f->things[i]);
    }
    free(f);
    return 0;
}

static const struct registry_domain *domain(struct fixture *f)
{
    return &find(f, REGISTRY_DOMAIN, DOMAIN)->of.domain;
}

static void assert_refused(const struct fixture *f, int status, const char *code)
{
    assert_int_equal(f->out.status, status);
    assert_string_equal(f->out.fault.code, code);
    assert_int_equal(f->out.put_count, 0);
    assert_int_equal(f->out.event_count, 0);
    assert_int_equal(f->out.forward_count, 0);
}

static void id_of(int i, char out[UUID_TEXT_SIZE])
{
    (void)snprintf(out, UUID_TEXT_SIZE, "aaaaaaaa-0000-4000-8000-%012d", i);
}

/* ---- tests ---- */

static void test_undecodable_is_refused(void **state)
{
    static const struct {
        const char *type;
        const char *body;
        err_t err;
    } cases[] = {
        {"registry.dragon.create.v1", "{}", ERR_UNSUPPORTED},
        {"registry.domain.create.v2", "{}", ERR_UNSUPPORTED},
        {REGISTRY_REQUEST_KEY_CREATE, "{}", ERR_INVALID},
        {REGISTRY_REQUEST_KEY_CREATE, "{\"id\":\"x\",\"name\":\"n\",\"secret_hash\":\"\"}",
         ERR_INVALID},
        {REGISTRY_REQUEST_WHITELIST_ADD, "{\"devices\":[]}", ERR_INVALID},
        {REGISTRY_REQUEST_WHITELIST_ADD, "{\"devices\":[{\"uid\":\"short\"}]}", ERR_INVALID},
        {REGISTRY_REQUEST_WHITELIST_ADD, "{\"devices\":[{\"uid\":\"00112233445566AA\"}]}",
         ERR_INVALID},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_err(run(f, cases[i].type, ID_1, "h", cases[i].body), cases[i].err);
        assert_true(f->fault.text[0] != '\0');
    }
}

static void test_chunk_has_a_limit(void **state)
{
    struct fixture *f = *state;
    CLEANUP_BUF struct buf body = BUF_INIT(8192);
    (void)buf_append_str(&body, "{\"devices\":[");
    for (int i = 0; i <= REGISTRY_WHITELIST_CHUNK; i++) {
        (void)buf_printf(&body, "%s{\"uid\":\"%016d\"}", i > 0 ? "," : "", i);
    }
    (void)buf_append_str(&body, "]}");
    assert_true(buf_ok(&body));
    err_t err = run(f, REGISTRY_REQUEST_WHITELIST_ADD, ID_1, "h", buf_cstr(&body));
    assert_int_equal(err_class(err), ERR_CLASS_REJECT);
}

static void test_no_domain(void **state)
{
    static const char *const types[][2] = {
        {REGISTRY_REQUEST_KEY_CREATE, KEY_BODY},
        {REGISTRY_REQUEST_KEY_REVOKE, "{\"id\":\"" ID_2 "\"}"},
        {REGISTRY_REQUEST_PROFILE_CREATE, PROFILE_BODY_("300")},
        {REGISTRY_REQUEST_PROFILE_UPDATE, "{\"uid\":\"" PROFILE "\",\"name\":\"x\"}"},
        {REGISTRY_REQUEST_WHITELIST_ADD, "{\"devices\":[{\"uid\":\"" UID_1 "\"}]}"},
        {REGISTRY_REQUEST_WHITELIST_REMOVE, "{\"devices\":[{\"uid\":\"" UID_1 "\"}]}"},
        {REGISTRY_REQUEST_WEBHOOK_CREATE, "{\"url\":\"https://x.example/\",\"events\":[\"*\"]}"},
        {REGISTRY_REQUEST_WEBHOOK_DELETE, "{\"id\":\"" ID_2 "\"}"},
        {REGISTRY_REQUEST_CA_CREATE, "{\"name\":\"root\"}"},
        {REGISTRY_REQUEST_CA_RELEASE, "{\"id\":\"" ID_2 "\"}"},
        {REGISTRY_REQUEST_EXPIRE, "{\"ids\":[\"" ID_2 "\"]}"},
    };
    struct fixture *f = *state;
    registry_record_free(TAKE(*slot(f, f->keys[0])));
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_ok(run(f, types[i][0], ID_1, "h", types[i][1]));
        assert_refused(f, 404, "not_found");
    }
}

static void test_absent_things(void **state)
{
    static const char *const cases[][3] = {
        {REGISTRY_REQUEST_KEY_REVOKE, "{\"id\":\"" ID_2 "\"}", "APIKey"},
        {REGISTRY_REQUEST_WEBHOOK_DELETE, "{\"id\":\"" ID_2 "\"}", "WebhookUID"},
        {REGISTRY_REQUEST_WEBHOOK_DISABLE, "{\"id\":\"" ID_2 "\"}", "WebhookUID"},
        {REGISTRY_REQUEST_PROFILE_CREATE, PROFILE_BODY_("300"), "RootCAUID"},
        {REGISTRY_REQUEST_PROFILE_UPDATE, "{\"uid\":\"" PROFILE "\"}", "DeviceProfileUID"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(run(f, cases[i][0], ID_1, "h", cases[i][1]));
        assert_refused(f, 404, "not_found");
        assert_string_equal(f->out.fault.field, cases[i][2]);
    }
}

static void test_domain_create(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->out.status, 200);
    assert_string_equal(domain(f)->name, "Acme");
    assert_int_equal(domain(f)->limits.cas, 15);
    assert_int_equal(domain(f)->limits.access_keys, 5);
    assert_int_equal(domain(f)->created_at, NOW);
    assert_int_equal(f->out.event_count, 1);
}

static void test_domain_again_after_its_result_is_gone(void **state)
{
    struct fixture *f = *state;
    char key[REGISTRY_KEY_SIZE];
    registry_key(DOMAIN, REGISTRY_RESULT, DOMAIN, key);
    registry_record_free(TAKE(*slot(f, key)));
    assert_ok(run(f, REGISTRY_REQUEST_DOMAIN_CREATE, DOMAIN, "h0",
                  "{\"name\":\"Other\",\"contacts\":[],\"account_type\":\"developer\"}"));
    assert_refused(f, 409, "duplicate");
}

static void test_sixth_access_key(void **state)
{
    struct fixture *f = *state;
    char id[UUID_TEXT_SIZE];
    char body[512];
    for (int i = 0; i < 7; i++) {
        id_of(i, id);
        (void)snprintf(body, sizeof body, "%s", KEY_BODY);
        memcpy(strstr(body, ID_2), id, UUID_TEXT_SIZE - 1);
        assert_ok(run(f, REGISTRY_REQUEST_KEY_CREATE, id, "h", body));
        if (i >= 5) {
            assert_refused(f, 403, "account_limit_exceeded");
        } else {
            assert_int_equal(f->out.status, 200);
        }
    }
    assert_int_equal(domain(f)->usage.access_keys, 5);
    /* a revoked one makes room, and revoking twice does not make more */
    for (int i = 0; i < 2; i++) {
        char target[64];
        id_of(0, id);
        (void)snprintf(target, sizeof target, "{\"id\":\"%s\"}", id);
        id_of(100 + i, id);
        assert_ok(run(f, REGISTRY_REQUEST_KEY_REVOKE, id, "h", target));
        assert_int_equal(f->out.status, 200);
        assert_int_equal(domain(f)->usage.access_keys, 4);
        assert_int_equal(f->out.event_count, i == 0 ? 1 : 0);
    }
}

static void test_events_carry_no_secret(void **state)
{
    struct fixture *f = *state;
    assert_ok(run(f, REGISTRY_REQUEST_KEY_CREATE, ID_1, "h", KEY_BODY));
    assert_int_equal(f->out.event_count, 1);
    assert_null(cJSON_GetObjectItem(f->out.events[0].data, "secret_hash"));
    assert_ok(run(f, REGISTRY_REQUEST_CA_CREATE, CA_1, "h", "{\"name\":\"root\"}"));
    assert_ok(run(f, REGISTRY_REQUEST_PROFILE_CREATE, ID_2, "h", PROFILE_BODY_("300")));
    CLEANUP_BUF struct buf text = BUF_INIT(4096);
    assert_ok(json_encode(f->out.events[0].data, &text));
    assert_null(strstr(buf_cstr(&text), PROFILE));
}

static void test_repeat_answers_the_same_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    assert_ok(run(f, REGISTRY_REQUEST_KEY_CREATE, ID_1, "h", KEY_BODY));
    assert_int_equal(f->out.put_count, 3); /* key, domain, stored result */
    /* the door made another secret: the stored one counts */
    assert_ok(run(f, REGISTRY_REQUEST_KEY_CREATE, ID_1, "h",
                  "{\"id\":\"" ID_1 "\",\"name\":\"ci\","
                  "\"secret_hash\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}"));
    assert_int_equal(f->out.status, 200);
    assert_int_equal(f->out.put_count, 0);
    assert_int_equal(f->out.event_count, 0);
    assert_string_equal(cJSON_GetObjectItem(f->out.result, "id")->valuestring, ID_2);
    assert_string_equal(cJSON_GetObjectItem(f->out.result, "secret_hash")->valuestring,
                        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    assert_int_equal(domain(f)->usage.access_keys, 1);
}

static void test_same_key_other_body(void **state)
{
    struct fixture *f = *state;
    assert_ok(run(f, REGISTRY_REQUEST_KEY_CREATE, ID_1, "h", KEY_BODY));
    assert_ok(run(f, REGISTRY_REQUEST_KEY_CREATE, ID_1, "other", KEY_BODY));
    assert_refused(f, 422, "idempotency_key_reused");
    assert_ok(run(f, REGISTRY_REQUEST_KEY_REVOKE, ID_1, "h", "{\"id\":\"" ID_2 "\"}"));
    assert_refused(f, 422, "idempotency_key_reused");
}

static void test_refusals_are_not_kept(void **state)
{
    struct fixture *f = *state;
    assert_ok(run(f, REGISTRY_REQUEST_PROFILE_CREATE, ID_1, "h", PROFILE_BODY_("300")));
    assert_refused(f, 404, "not_found");
    assert_ok(run(f, REGISTRY_REQUEST_CA_CREATE, CA_1, "h", "{\"name\":\"root\"}"));
    assert_ok(run(f, REGISTRY_REQUEST_PROFILE_CREATE, ID_1, "h", PROFILE_BODY_("300")));
    assert_int_equal(f->out.status, 200);
    assert_int_equal(domain(f)->usage.profiles, 1);
}

static void test_flood_interval_that_blocks_every_heartbeat(void **state)
{
    struct fixture *f = *state;
    assert_ok(run(f, REGISTRY_REQUEST_CA_CREATE, CA_1, "h", "{\"name\":\"root\"}"));
    assert_ok(run(f, REGISTRY_REQUEST_PROFILE_CREATE, ID_1, "h", PROFILE_BODY_("3601")));
    assert_refused(f, 400, "validation_error");
    assert_string_equal(f->out.fault.field, "FloodInterval");
}

/* ---- changing a profile ---- */

#define UPDATE_(members) "{\"uid\":\"" PROFILE "\"," members "}"

static void with_profile(struct fixture *f)
{
    assert_ok(run(f, REGISTRY_REQUEST_CA_CREATE, CA_1, "h", "{\"name\":\"root\"}"));
    assert_ok(run(f, REGISTRY_REQUEST_PROFILE_CREATE, ID_1, "h", PROFILE_BODY_("300")));
    assert_int_equal(f->out.status, 200);
    f->now_ms += 1000;
}

static void test_profile_update_changes_what_it_names(void **state)
{
    struct fixture *f = *state;
    with_profile(f);
    assert_ok(run(f, REGISTRY_REQUEST_PROFILE_UPDATE, ID_2, "h",
                  UPDATE_("\"features\":{\"chip_to_chip\":true}")));
    assert_int_equal(f->out.status, 200);
    const struct registry_profile *p = &find(f, REGISTRY_PROFILE, PROFILE)->of.profile;
    assert_string_equal(p->name, "meters");
    assert_string_equal(p->ca, CA_1);
    assert_int_equal(p->heartbeat_interval_s, 3600);
    assert_int_equal(p->flood_interval_s, 300);
    assert_int_equal(p->whitelist, REGISTRY_WHITELIST_ON);
    assert_true(p->features.zero_touch && p->features.chip_to_chip && !p->features.data_protection);
    assert_int_equal(p->created_at, NOW);
    assert_int_equal(p->updated_at, NOW + 1000);
    assert_int_equal(domain(f)->usage.profiles, 1);

    assert_ok(run(f, REGISTRY_REQUEST_PROFILE_UPDATE, ID_3, "h",
                  UPDATE_("\"name\":\"new\",\"heartbeat_interval_s\":7200,"
                          "\"flood_interval_s\":3601,\"whitelist\":\"ignore\","
                          "\"features\":{\"zero_touch\":false},\"checked_ca\":\"" CA_1 "\"")));
    assert_int_equal(f->out.status, 200);
    p = &find(f, REGISTRY_PROFILE, PROFILE)->of.profile;
    assert_string_equal(p->name, "new");
    assert_int_equal(p->heartbeat_interval_s, 7200);
    assert_int_equal(p->flood_interval_s, 3601);
    assert_int_equal(p->whitelist, REGISTRY_WHITELIST_IGNORE);
    assert_true(!p->features.zero_touch && p->features.chip_to_chip);
    assert_int_equal(f->out.event_count, 1);
    CLEANUP_BUF struct buf text = BUF_INIT(4096);
    assert_ok(json_encode(f->out.events[0].data, &text));
    assert_null(strstr(buf_cstr(&text), PROFILE));
    assert_non_null(strstr(buf_cstr(&text), "\"previous_name\":\"meters\""));
}

static void test_profile_update_that_changes_nothing(void **state)
{
    struct fixture *f = *state;
    with_profile(f);
    assert_ok(run(f, REGISTRY_REQUEST_PROFILE_UPDATE, ID_2, "h", UPDATE_("\"name\":\"meters\"")));
    assert_int_equal(f->out.status, 200);
    assert_int_equal(f->out.event_count, 0);
    assert_int_equal(find(f, REGISTRY_PROFILE, PROFILE)->of.profile.updated_at, NOW);
}

static void test_profile_update_is_done_once(void **state)
{
    struct fixture *f = *state;
    with_profile(f);
    assert_ok(run(f, REGISTRY_REQUEST_PROFILE_UPDATE, ID_2, "h", UPDATE_("\"name\":\"one\"")));
    assert_ok(run(f, REGISTRY_REQUEST_PROFILE_UPDATE, ID_3, "h", UPDATE_("\"name\":\"two\"")));
    assert_ok(run(f, REGISTRY_REQUEST_PROFILE_UPDATE, ID_2, "h", UPDATE_("\"name\":\"one\"")));
    assert_int_equal(f->out.status, 200);
    assert_string_equal(cJSON_GetObjectItem(f->out.result, "name")->valuestring, "one");
    assert_string_equal(find(f, REGISTRY_PROFILE, PROFILE)->of.profile.name, "two");
    assert_ok(run(f, REGISTRY_REQUEST_PROFILE_UPDATE, ID_2, "x", UPDATE_("\"name\":\"six\"")));
    assert_refused(f, 422, "idempotency_key_reused");
}

/* The rules of create, for what comes out of the change. */
static void test_profile_update_that_can_never_work(void **state)
{
    static const struct {
        const char *body;
        int status;
        const char *code, *field;
    } cases[] = {
        {UPDATE_("\"flood_interval_s\":3601"), 400, "validation_error", "FloodInterval"},
        {UPDATE_("\"heartbeat_interval_s\":299,\"checked_ca\":\"" CA_1 "\""), 400,
         "validation_error", "FloodInterval"},
        {UPDATE_("\"heartbeat_interval_s\":7200,\"checked_ca\":\"" CA_1
                 "\",\"heartbeat_below_s\":7200"),
         400, "validation_error", "HeartbeatInterval"},
        {UPDATE_("\"ca\":\"" CA_1 "\",\"checked_ca\":\"" CA_1 "\",\"heartbeat_below_s\":3600"), 400,
         "validation_error", "HeartbeatInterval"},
        {UPDATE_("\"heartbeat_interval_s\":7200,\"checked_ca\":\"" ID_1 "\""), 409, "conflict",
         "RootCAUID"},
        {UPDATE_("\"heartbeat_interval_s\":7200"), 409, "conflict", "RootCAUID"},
        {UPDATE_("\"ca\":\"" ID_2 "\",\"checked_ca\":\"" ID_2 "\""), 404, "not_found", "RootCAUID"},
    };
    struct fixture *f = *state;
    with_profile(f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(run(f, REGISTRY_REQUEST_PROFILE_UPDATE, ID_2, "h", cases[i].body));
        assert_refused(f, cases[i].status, cases[i].code);
        assert_string_equal(f->out.fault.field, cases[i].field);
    }
    assert_int_equal(find(f, REGISTRY_PROFILE, PROFILE)->of.profile.heartbeat_interval_s, 3600);
}

static void test_sixteenth_ca(void **state)
{
    struct fixture *f = *state;
    char id[UUID_TEXT_SIZE];
    for (int i = 0; i < 16; i++) {
        id_of(i, id);
        assert_ok(run(f, REGISTRY_REQUEST_CA_CREATE, id, "h", "{\"name\":\"root\",\"rest\":1}"));
        if (i == 15) {
            assert_refused(f, 403, "account_limit_exceeded");
            assert_string_equal(f->out.fault.field, "ca-count");
        } else {
            /* the CA's owner answers, under the same id */
            assert_int_equal(f->out.status, 0);
            assert_int_equal(f->out.forward_count, 1);
            assert_string_equal(f->out.forwards[0].topic, TOPIC_CA_REQUESTS);
            assert_string_equal(f->out.forwards[0].id, id);
            assert_string_equal(f->out.forwards[0].key, id);
            assert_true(f->out.forwards[0].reply);
        }
    }
    assert_ok(run(f, REGISTRY_REQUEST_CA_CREATE, id, "h", "{\"name\":\"root\"}"));
    assert_refused(f, 403, "account_limit_exceeded");
    id_of(3, id);
    char target[64];
    (void)snprintf(target, sizeof target, "{\"id\":\"%s\"}", id);
    for (int i = 0; i < 2; i++) { /* released twice, free once */
        char request[UUID_TEXT_SIZE];
        id_of(50 + i, request);
        assert_ok(run(f, REGISTRY_REQUEST_CA_RELEASE, request, "", target));
        assert_int_equal(domain(f)->usage.cas, 14);
    }
}

static void test_ca_again_is_forwarded_again(void **state)
{
    struct fixture *f = *state;
    assert_ok(run(f, REGISTRY_REQUEST_CA_CREATE, CA_1, "h", "{\"name\":\"root\"}"));
    assert_ok(run(f, REGISTRY_REQUEST_CA_CREATE, CA_1, "h", "{\"name\":\"root\"}"));
    assert_int_equal(f->out.forward_count, 1);
    assert_int_equal(f->out.put_count, 0);
    assert_int_equal(domain(f)->usage.cas, 1);
    assert_ok(run(f, REGISTRY_REQUEST_CA_CREATE, CA_1, "other", "{\"name\":\"root\"}"));
    assert_refused(f, 422, "idempotency_key_reused");
}

static void test_whitelist(void **state)
{
    struct fixture *f = *state;
    assert_ok(run(f, REGISTRY_REQUEST_WHITELIST_ADD, ID_1, "h",
                  "{\"devices\":[{\"uid\":\"" UID_1 "\"},{\"uid\":\"" UID_2 "\",\"key\":\"AAEC\"},"
                  "{\"uid\":\"" UID_1 "\",\"key\":\"AAED\"}]}"));
    assert_int_equal(f->out.status, 200);
    /* named twice: the last entry counts, once */
    assert_int_equal(cJSON_GetObjectItem(f->out.result, "added")->valueint, 2);
    const struct registry_record *first = find(f, REGISTRY_WHITELIST, UID_1);
    assert_int_equal(first->of.whitelist.key_len, 3);
    assert_int_equal(first->of.whitelist.key[2], 3);
    /* each device is told, once, with an id of its own */
    assert_int_equal(f->out.forward_count, 2);
    assert_string_equal(f->out.forwards[0].topic, TOPIC_DEVICE_REQUESTS);
    assert_string_not_equal(f->out.forwards[0].id, f->out.forwards[1].id);
    f->now_ms += 1000;
    assert_ok(run(f, REGISTRY_REQUEST_WHITELIST_ADD, ID_2, "h",
                  "{\"devices\":[{\"uid\":\"" UID_2 "\",\"key\":\"AAEC\"},{\"uid\":\"" UID_1
                  "\"}]}"));
    assert_int_equal(cJSON_GetObjectItem(f->out.result, "added")->valueint, 1);
    assert_int_equal(find(f, REGISTRY_WHITELIST, UID_1)->of.whitelist.key_len, 0);
    assert_int_equal(find(f, REGISTRY_WHITELIST, UID_1)->of.whitelist.created_at, NOW);
    assert_ok(run(f, REGISTRY_REQUEST_WHITELIST_REMOVE, CA_1, "h",
                  "{\"devices\":[{\"uid\":\"" UID_1 "\"},{\"uid\":\"ffffffffffffffff\"}]}"));
    assert_int_equal(cJSON_GetObjectItem(f->out.result, "removed")->valueint, 1);
    assert_int_equal(f->out.forward_count, 0);
    assert_null(find(f, REGISTRY_WHITELIST, UID_1));
}

/* A further chunk is judged by the first one's hash, though its own id was never seen. */
static void test_chunks_share_their_key(void **state)
{
    struct fixture *f = *state;
    static const char *const types[] = {REGISTRY_REQUEST_WHITELIST_ADD,
                                        REGISTRY_REQUEST_WHITELIST_REMOVE};
    assert_ok(run(f, types[0], ID_1, "h", "{\"devices\":[{\"uid\":\"" UID_1 "\"}]}"));
    for (size_t i = 0; i < 2; i++) {
        assert_ok(run(f, types[i], ID_2, "other",
                      "{\"first\":\"" ID_1 "\",\"devices\":[{\"uid\":\"" UID_1
                      "\"},{\"uid\":\"" UID_2 "\"}]}"));
        assert_refused(f, 422, "idempotency_key_reused");
    }
    assert_ok(run(f, types[0], ID_2, "h",
                  "{\"first\":\"" ID_1 "\",\"devices\":[{\"uid\":\"" UID_2 "\"}]}"));
    assert_int_equal(f->out.status, 200);
    assert_non_null(find(f, REGISTRY_WHITELIST, UID_2));
}

static void test_webhook(void **state)
{
    struct fixture *f = *state;
    assert_ok(
        run(f, REGISTRY_REQUEST_WEBHOOK_CREATE, ID_1, "h",
            "{\"url\":\"https://hook.example/x\",\"events\":[\"*\"],\"secret_sealed\":\"AAEC\"}"));
    assert_int_equal(f->out.status, 200);
    assert_int_equal(domain(f)->usage.webhooks, 1);
    CLEANUP_BUF struct buf text = BUF_INIT(4096);
    assert_ok(json_encode(f->out.events[0].data, &text));
    assert_null(strstr(buf_cstr(&text), "sealed"));
    for (int i = 0; i < 2; i++) {
        char id[UUID_TEXT_SIZE];
        id_of(i, id);
        assert_ok(run(f, REGISTRY_REQUEST_WEBHOOK_DISABLE, id, "",
                      "{\"id\":\"" ID_1 "\",\"reason\":\"410 Gone\"}"));
        assert_int_equal(f->out.event_count, i == 0 ? 1 : 0);
    }
    assert_int_equal(find(f, REGISTRY_WEBHOOK, ID_1)->of.webhook.status, REGISTRY_WEBHOOK_DISABLED);
    assert_ok(run(f, REGISTRY_REQUEST_WEBHOOK_DELETE, ID_2, "h", "{\"id\":\"" ID_1 "\"}"));
    assert_int_equal(f->out.status, 200);
    assert_int_equal(domain(f)->usage.webhooks, 0);
    assert_null(find(f, REGISTRY_WEBHOOK, ID_1));
}

static void test_results_go_when_their_time_is_over(void **state)
{
    struct fixture *f = *state;
    assert_ok(run(f, REGISTRY_REQUEST_KEY_CREATE, ID_1, "h", KEY_BODY));
    f->now_ms += INT64_C(86400000) * REGISTRY_RESULT_DAYS - 1;
    assert_ok(run(f, REGISTRY_REQUEST_EXPIRE, CA_1, "", "{\"ids\":[\"" ID_1 "\"]}"));
    assert_non_null(find(f, REGISTRY_RESULT, ID_1));
    f->now_ms += 1;
    assert_ok(run(f, REGISTRY_REQUEST_EXPIRE, CA_1, "", "{\"ids\":[\"" ID_1 "\",\"" ID_2 "\"]}"));
    assert_null(find(f, REGISTRY_RESULT, ID_1));
    assert_int_equal(f->out.put_count, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_undecodable_is_refused),
        T(test_chunk_has_a_limit),
        T(test_no_domain),
        T(test_absent_things),
        T(test_domain_create),
        T(test_domain_again_after_its_result_is_gone),
        T(test_sixth_access_key),
        T(test_events_carry_no_secret),
        T(test_repeat_answers_the_same_and_changes_nothing),
        T(test_same_key_other_body),
        T(test_refusals_are_not_kept),
        T(test_flood_interval_that_blocks_every_heartbeat),
        T(test_profile_update_changes_what_it_names),
        T(test_profile_update_that_changes_nothing),
        T(test_profile_update_is_done_once),
        T(test_profile_update_that_can_never_work),
        T(test_sixteenth_ca),
        T(test_ca_again_is_forwarded_again),
        T(test_whitelist),
        T(test_chunks_share_their_key),
        T(test_webhook),
        T(test_results_go_when_their_time_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
