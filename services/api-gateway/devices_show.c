/*
 * A device and its certificate in the words of the API.
 */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "devices.h"

static void show_operation(cJSON *json, const struct device *d)
{
    if (!device_has_operation(d)) {
        return;
    }
    const struct device_operation *o = &d->operation;
    cJSON *operation = cJSON_AddObjectToObject(json, "Operation");
    api_add_uuid(operation, "OperationUID", &o->id);
    (void)cJSON_AddStringToObject(operation, "Kind",
                                  codec_name_of(operation_kind_names, (int)o->kind));
    (void)cJSON_AddStringToObject(operation, "State",
                                  codec_name_of(operation_state_names, (int)o->state));
    (void)cJSON_AddBoolToObject(operation, "Automatic", o->automatic);
    api_add_uuid(operation, "OrderUID", &o->order);
    api_add_text(operation, "Reason", o->reason);
    (void)cJSON_AddNumberToObject(operation, "Attempts", o->attempts);
    api_add_time(operation, "RequestedAt", o->requested_at_ms);
    api_add_time(operation, "UpdatedAt", o->updated_at_ms);
}

static void show_history(cJSON *json, const struct device *d)
{
    cJSON *history = cJSON_AddArrayToObject(json, "History");
    for (size_t i = d->recent_count; i > 0; i--) {
        const struct device_recent *r = &d->recent[i - 1];
        cJSON *entry = cJSON_CreateObject();
        api_add_uuid(entry, "OperationUID", &r->id);
        (void)cJSON_AddStringToObject(entry, "Kind",
                                      codec_name_of(operation_kind_names, (int)r->kind));
        (void)cJSON_AddStringToObject(entry, "State",
                                      codec_name_of(operation_state_names, (int)r->state));
        api_add_text(entry, "Reason", r->reason);
        api_add_time(entry, "At", r->at_ms);
        (void)cJSON_AddItemToArray(history, entry);
    }
}

static const char *algorithm_of(const struct device_key *key)
{
    const uint8_t *at = key->der;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)key->len);
    char group[32] = "";
    const char *name = "unknown";
    if (pkey != NULL && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC &&
        EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1) {
        name = strcmp(group, "prime256v1") == 0  ? "EC-P256"
               : strcmp(group, "secp384r1") == 0 ? "EC-P384"
                                                 : "EC";
    } else if (pkey != NULL && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_ED25519) {
        name = "Ed25519";
    } else if (pkey != NULL && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA) {
        name = "RSA";
    }
    EVP_PKEY_free(pkey);
    return name;
}

const char *devices_certificate_status(const struct device *d, int64_t now_ms)
{
    if (d->certificate.revoked_at_ms != 0) {
        return "revoked";
    }
    return d->certificate.not_after_ms <= now_ms ? "expired" : "installed";
}

cJSON *devices_show_certificate(const struct device *d, int64_t now_ms)
{
    const struct device_certificate *c = &d->certificate;
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "RoTPublicUID", d->uid);
    (void)cJSON_AddStringToObject(json, "Status", devices_certificate_status(d, now_ms));
    api_add_hex(json, "SerialNumber", span_of(c->serial, sizeof c->serial));
    api_add_uuid(json, "RootCAUID", &c->ca);
    api_add_time(json, "NotBefore", c->not_before_ms);
    api_add_time(json, "NotAfter", c->not_after_ms);
    api_add_time(json, "IssuedAt", c->issued_at_ms);
    api_add_time(json, "InstalledAt", c->installed_at_ms);
    api_add_time(json, "RevokedAt", c->revoked_at_ms);
    api_add_hex(json, "Fingerprint", span_of(c->fingerprint, sizeof c->fingerprint));
    cJSON *key = cJSON_AddObjectToObject(json, "Key");
    api_add_hex(key, "Fingerprint", span_of(c->key_hash, sizeof c->key_hash));
    (void)cJSON_AddStringToObject(key, "Algorithm", algorithm_of(&c->spki));
    (void)cJSON_AddNumberToObject(key, "Generation", d->key_generation);
    api_add_uuid(json, "OperationUID", &c->operation);
    (void)cJSON_AddNumberToObject(json, "Unconfirmed", (double)d->unconfirmed_count);
    show_operation(json, d);
    show_history(json, d);
    return json;
}

static void show_summary(cJSON *json, const struct device *d)
{
    if (!device_has_certificate(d)) {
        return;
    }
    const struct device_certificate *c = &d->certificate;
    cJSON *certificate = cJSON_AddObjectToObject(json, "Certificate");
    api_add_hex(certificate, "SerialNumber", span_of(c->serial, sizeof c->serial));
    api_add_uuid(certificate, "RootCAUID", &c->ca);
    api_add_time(certificate, "NotAfter", c->not_after_ms);
}

cJSON *devices_show(const struct device *d)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "RoTPublicUID", d->uid);
    (void)cJSON_AddStringToObject(json, "State", codec_name_of(device_state_names, (int)d->state));
    api_add_text(json, "Reason", d->reason);
    api_add_text(json, "DeviceProfileUID", d->profile);
    api_add_text(json, "SealedDeviceProfileUID", d->sealed_profile);
    api_add_text(json, "Serial", d->serial);
    api_add_text(json, "Model", d->model);
    api_add_text(json, "Firmware", d->firmware);
    api_add_text(json, "Agent", d->agent);
    api_add_duration(json, "HeartbeatInterval", d->settings.heartbeat_interval_s);
    api_add_duration(json, "FloodInterval", d->settings.flood_interval_s);
    api_add_time(json, "RegisteredAt", d->registered_at_ms);
    api_add_time(json, "ActivatedAt", d->activated_at_ms);
    show_summary(json, d);
    show_operation(json, d);
    return json;
}
