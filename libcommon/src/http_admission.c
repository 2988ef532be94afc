#include "common/http_admission.h"

#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>

#include "common/id.h"

/* What counts as one address: IPv4 whole, IPv6 by its /64, which one site can fill at will. */
struct address_key {
    uint32_t family;
    uint8_t bytes[8];
};

struct address {
    struct address *next;
    struct address_key key;
    uint32_t open;
};

struct http_admission {
    struct http_admission_limits limits;
    pthread_mutex_t lock; /* covers all below */
    uint32_t open;
    int64_t tokens_milli; /* thousandths of a connection */
    int64_t filled_at_ms;
    uint64_t seed; /* so that nobody can aim at one bucket */
    size_t bucket_count;
    struct address **buckets;
};

const char *http_refusal_name(enum http_refusal refusal)
{
    static const char *const names[] = {"descriptors", "connections", "address", "rate"};
    return (unsigned)refusal < HTTP_REFUSAL_COUNT_ ? names[refusal] : "";
}

struct http_admission *http_admission_new(const struct http_admission_limits *limits)
{
    assert(limits->connections_max > 0);
    struct http_admission *a = xcalloc(1, sizeof *a);
    a->limits = *limits;
    if (a->limits.burst == 0) {
        a->limits.burst = a->limits.rate;
    }
    a->tokens_milli = (int64_t)a->limits.burst * 1000;
    a->bucket_count = 64;
    while (a->bucket_count < limits->connections_max && a->bucket_count < 65536) {
        a->bucket_count *= 2;
    }
    a->buckets = xcalloc(a->bucket_count, sizeof(struct address *));
    random_bytes(&a->seed, sizeof a->seed);
    (void)pthread_mutex_init(&a->lock, NULL);
    return a;
}

void http_admission_free(struct http_admission *a)
{
    if (a == NULL) {
        return;
    }
    for (size_t i = 0; i < a->bucket_count; i++) {
        while (a->buckets[i] != NULL) {
            struct address *gone = a->buckets[i];
            a->buckets[i] = gone->next;
            free(gone);
        }
    }
    free(a->buckets);
    (void)pthread_mutex_destroy(&a->lock);
    free(a);
}

static struct address_key key_of(const struct sockaddr *address)
{
    struct address_key key = {0};
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        key.family = AF_INET;
        memcpy(key.bytes, &v4->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
        key.family = AF_INET6;
        memcpy(key.bytes, &v6->sin6_addr, 8);
    }
    return key;
}

static struct address **slot_of(struct http_admission *a, const struct address_key *key)
{
    uint64_t hash = a->seed;
    uint64_t word = 0;
    memcpy(&word, key->bytes, sizeof word);
    hash = (hash ^ word ^ key->family) * UINT64_C(0x9E3779B97F4A7C15);
    hash = (hash ^ (hash >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
    struct address **slot = &a->buckets[(hash >> 32) & (a->bucket_count - 1)];
    while (*slot != NULL && ((*slot)->key.family != key->family ||
                             memcmp((*slot)->key.bytes, key->bytes, sizeof key->bytes) != 0)) {
        slot = &(*slot)->next;
    }
    return slot;
}

static void refill(struct http_admission *a, int64_t now_ms)
{
    const int64_t full = (int64_t)a->limits.burst * 1000;
    const int64_t elapsed = now_ms - a->filled_at_ms;
    if (elapsed <= 0) {
        return;
    }
    a->filled_at_ms = now_ms;
    if (elapsed >= full / a->limits.rate + 1) {
        a->tokens_milli = full;
    } else {
        a->tokens_milli += elapsed * a->limits.rate;
        a->tokens_milli = a->tokens_milli < full ? a->tokens_milli : full;
    }
}

static enum http_refusal enter_locked(struct http_admission *a, const struct sockaddr *address,
                                      int64_t now_ms)
{
    if (a->open >= a->limits.connections_max) {
        return HTTP_REFUSAL_CONNECTIONS;
    }
    if (a->limits.rate > 0) {
        refill(a, now_ms);
        if (a->tokens_milli < 1000) {
            return HTTP_REFUSAL_RATE;
        }
    }
    if (a->limits.connections_per_address_max > 0) {
        const struct address_key key = key_of(address);
        struct address **slot = slot_of(a, &key);
        if (*slot == NULL) {
            *slot = xcalloc(1, sizeof **slot);
            (*slot)->key = key;
        }
        if ((*slot)->open >= a->limits.connections_per_address_max) {
            return HTTP_REFUSAL_ADDRESS;
        }
        (*slot)->open++;
    }
    a->tokens_milli -= a->limits.rate > 0 ? 1000 : 0;
    a->open++;
    return HTTP_REFUSAL_NONE;
}

enum http_refusal http_admission_enter(struct http_admission *a, const struct sockaddr *address,
                                       int64_t now_ms)
{
    (void)pthread_mutex_lock(&a->lock);
    const enum http_refusal refusal = enter_locked(a, address, now_ms);
    (void)pthread_mutex_unlock(&a->lock);
    return refusal;
}

void http_admission_leave(struct http_admission *a, const struct sockaddr *address)
{
    (void)pthread_mutex_lock(&a->lock);
    assert(a->open > 0);
    a->open--;
    if (a->limits.connections_per_address_max > 0) {
        const struct address_key key = key_of(address);
        struct address **slot = slot_of(a, &key);
        assert(*slot != NULL && (*slot)->open > 0);
        if (--(*slot)->open == 0) {
            struct address *gone = *slot;
            *slot = gone->next;
            free(gone);
        }
    }
    (void)pthread_mutex_unlock(&a->lock);
}

uint32_t http_admission_open(struct http_admission *a)
{
    (void)pthread_mutex_lock(&a->lock);
    const uint32_t open = a->open;
    (void)pthread_mutex_unlock(&a->lock);
    return open;
}
