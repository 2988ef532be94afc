/*
 * Devices as the door shows them: reading their packed view records, listing them under filters,
 * and both faces of one device, the device itself and its certificate. Handler's thread.
 */
#ifndef API_GATEWAY_DEVICES_H
#define API_GATEWAY_DEVICES_H

#include "api.h"
#include "proto/device.h"

/* The device if it belongs to the exchange's domain; else NULL and the client is answered (404:
 * nobody learns what others own). */
struct device *devices_read(struct exchange *x, const char *uid);
/* When it last sent a heartbeat, unix ms; 0 when not known. */
int64_t devices_last_heartbeat(struct exchange *x, const char *uid);

#define DEVICES_SEARCH_MAX 32
struct devices_filter {
    bool has_state;
    enum device_state state;
    struct uuid ca;                       /* zero: any */
    char profile[DEVICE_PROFILE_LEN + 1]; /* "": any */
    int64_t expires_after_ms,
        expires_before_ms; /* 0: any; both only match devices with a certificate */
    bool with_certificate;
    char search[DEVICES_SEARCH_MAX + 1]; /* part of the UID, serial, model; "": any */
};
/* Pure. */
bool devices_match(const struct device *d, const struct devices_filter *filter);

struct devices_page {
    size_t limit;
    char after[DEVICE_UID_LEN + 1]; /* "": from the start */
    int order;
};
/* Answers with a page of the domain's devices. Looks at a bounded number of them: a page may be
 * short and still have more. */
void devices_list(struct exchange *x, const struct devices_filter *filter,
                  const struct devices_page *page,
                  cJSON *(*show)(struct exchange *x, const struct device *d));

/* ---- shapes ---- */

cJSON *devices_show(const struct device *d);
cJSON *devices_show_certificate(const struct device *d, int64_t now_ms);
/* "installed", "expired" or "revoked". */
const char *devices_certificate_status(const struct device *d, int64_t now_ms);

/* Lists of devices in bodies: elements, and whether one is named twice (the client is answered
 * then), which would be answered twice for one thing. */
struct devices_uid {
    char text[DEVICE_UID_LEN + 1];
};
extern const struct codec_field devices_uid_element;
bool devices_named_twice(struct exchange *x, const struct devices_uid *uids, size_t n);

/* A RoTPublicUID in either letter case, for codec rules; devices_lower makes it canonical. */
bool devices_uid_rule(const void *text);
void devices_lower(char *uid);

#endif
