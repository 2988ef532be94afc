#include <stdio.h>

#include "app.h"
#include "common/text.h"

/* Everything that is shown, in either form. */
struct facts {
    bool has_certificate;
    struct device_certificate_facts certificate;
    char not_before[TIME_TEXT_SIZE], not_after[TIME_TEXT_SIZE];
    char last_heartbeat[TIME_TEXT_SIZE], next_heartbeat[TIME_TEXT_SIZE]; /* "" : none */
};

bool status_activated(const struct device *d)
{
    return d->state.standing == DEVICE_STANDING_ACTIVE && d->state.current != DEVICE_SLOT_NONE &&
           d->state.stage != DEVICE_STAGE_CONFIRM;
}

static void set_time(int64_t ms, char out[TIME_TEXT_SIZE])
{
    if (ms > 0) {
        time_format(ms, out);
    }
}

static void gather(const struct device *d, struct facts *f)
{
    const struct device_state *s = &d->state;
    CLEANUP_BUF struct buf pem = BUF_INIT(STORAGE_FILE_MAX);
    CLEANUP(X509_free) X509 *certificate = NULL;
    set_time(s->heartbeat_sent_ms, f->last_heartbeat);
    set_time(s->next_heartbeat_ms, f->next_heartbeat);
    if (s->current == DEVICE_SLOT_NONE ||
        storage_read(d->storage, device_certificate_file(s->current), &pem) != ERR_OK ||
        device_certificate_read(buf_span(&pem), &certificate) != ERR_OK ||
        device_certificate_facts(certificate, &f->certificate) != ERR_OK) {
        return;
    }
    f->has_certificate = true;
    set_time(f->certificate.not_before_ms, f->not_before);
    set_time(f->certificate.not_after_ms, f->not_after);
}

static const char *yes(bool value)
{
    return value ? "yes" : "no";
}

static void print_text(const struct config *c, const struct device *d, const struct facts *f,
                       FILE *to)
{
    const struct device_state *s = &d->state;
    bool known = s->standing != DEVICE_STANDING_NEW;
    (void)fprintf(to, "UID             %s\n", d->uid);
    (void)fprintf(to, "sealed          %s%s%s\n", yes(d->profile[0] != 0),
                  d->serial[0] != 0 ? ", serial " : "", d->serial);
    (void)fprintf(to, "registered      %s%s%s\n", yes(known),
                  s->standing_reason[0] != 0 ? ", " : "", s->standing_reason);
    (void)fprintf(to, "activated       %s (%s)\n", yes(status_activated(d)),
                  device_standing_name(s->standing));
    if (f->has_certificate) {
        (void)fprintf(to,
                      "certificate     %s\n  subject       %s\n  issuer        %s\n"
                      "  valid         %s to %s\n  confirmed     %s\n  key file      %s/%s\n"
                      "  file          %s/%s\n",
                      f->certificate.serial, f->certificate.subject, f->certificate.issuer,
                      f->not_before, f->not_after, yes(s->stage != DEVICE_STAGE_CONFIRM),
                      c->state_dir, device_key_file(s->current), c->state_dir,
                      device_certificate_file(s->current));
    } else {
        (void)fprintf(to, "certificate     none\n");
    }
    (void)fprintf(to, "last heartbeat  %s\n",
                  f->last_heartbeat[0] != 0 ? f->last_heartbeat : "never");
    if (f->next_heartbeat[0] != 0) {
        (void)fprintf(to, "next heartbeat  %s\n", f->next_heartbeat);
    }
    if (s->last_error[0] != 0) {
        (void)fprintf(to, "last error      %s\n", s->last_error);
    }
}

/* "name":"value", or "name":null for "". */
static void member(struct buf *to, const char *name, const char *value)
{
    (void)buf_printf(to, ",\"%s\":", name);
    if (value[0] != 0) {
        (void)text_append_json(to, span_str(value));
    } else {
        (void)buf_append_str(to, "null");
    }
}

static void flag(struct buf *to, const char *name, bool value)
{
    (void)buf_printf(to, ",\"%s\":%s", name, value ? "true" : "false");
}

static void add_certificate(const struct config *c, const struct device *d, const struct facts *f,
                            struct buf *to)
{
    CLEANUP_FREE char *key = xasprintf("%s/%s", c->state_dir, device_key_file(d->state.current));
    CLEANUP_FREE char *file =
        xasprintf("%s/%s", c->state_dir, device_certificate_file(d->state.current));
    (void)buf_append_str(to, ",\"certificate\":{\"serial\":");
    (void)text_append_json(to, span_str(f->certificate.serial));
    member(to, "subject", f->certificate.subject);
    member(to, "issuer", f->certificate.issuer);
    member(to, "not_before", f->not_before);
    member(to, "not_after", f->not_after);
    flag(to, "confirmed", d->state.stage != DEVICE_STAGE_CONFIRM);
    member(to, "key_file", key);
    member(to, "certificate_file", file);
    (void)buf_append_byte(to, '}');
}

static void print_json(const struct config *c, const struct device *d, const struct facts *f,
                       FILE *to)
{
    CLEANUP_BUF struct buf out = BUF_INIT((size_t)16 * 1024);
    const struct device_state *s = &d->state;
    (void)buf_printf(&out, "{\"uid\":\"%s\"", d->uid);
    flag(&out, "sealed", d->profile[0] != 0);
    member(&out, "serial", d->serial);
    flag(&out, "registered", s->standing != DEVICE_STANDING_NEW);
    flag(&out, "activated", status_activated(d));
    member(&out, "state", device_standing_name(s->standing));
    member(&out, "reason", s->standing_reason);
    member(&out, "domain", s->domain);
    if (f->has_certificate) {
        add_certificate(c, d, f, &out);
    } else {
        (void)buf_append_str(&out, ",\"certificate\":null");
    }
    (void)buf_printf(&out, ",\"heartbeat_interval_s\":%lld,\"flood_interval_s\":%lld",
                     (long long)s->heartbeat_interval_s, (long long)s->flood_interval_s);
    member(&out, "last_heartbeat", f->last_heartbeat);
    member(&out, "next_heartbeat", f->next_heartbeat);
    member(&out, "error", s->last_error);
    (void)fprintf(to, "%s}\n", buf_cstr(&out));
}

void status_print(const struct config *config, const struct device *d, FILE *to)
{
    struct facts f = {.has_certificate = false};
    gather(d, &f);
    (config->json ? print_json : print_text)(config, d, &f, to);
}
