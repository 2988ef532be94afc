/*
 * Domains.
 */
#include "calls.h"
#include "page.h"
#include "proto/topics.h"
#include "write.h"

static bool email_rule(const void *text)
{
    const char *email = text;
    const char *at = strchr(email, '@');
    return api_line_rule(text) && at != NULL && at != email && at[1] != '\0' &&
           strchr(at + 1, '@') == NULL && strpbrk(email, " \t\r\n,;<>") == NULL;
}

static const struct codec_field contact_fields[] = {
    {CODEC_STR(struct registry_contact, name, "Name", CODEC_OMIT_ZERO, 0), API_LINE},
    {CODEC_STR(struct registry_contact, email, "Email", CODEC_REQUIRED, 3),
     CODEC_RULE(email_rule, "an e-mail address")},
    {CODEC_ENUM(struct registry_contact, role, "Role", 0, registry_contact_role_names)},
};
static const struct codec_table contact_table =
    CODEC_TABLE(struct registry_contact, contact_fields);
static const struct codec_field contact_element = {
    CODEC_ELEMENT_OBJECT(struct registry_contact, &contact_table)};

struct create_body {
    API_BODY_HEAD;
    struct registry_domain_create create;
};
static const struct codec_field create_fields[] = {
    {CODEC_STR(struct create_body, create.name, "Name", CODEC_REQUIRED, 1), API_LINE},
    {CODEC_STR(struct create_body, create.company, "Company", CODEC_OMIT_ZERO, 0), API_LINE},
    {CODEC_STR(struct create_body, create.address, "Address", CODEC_OMIT_ZERO, 0), API_LINE},
    {CODEC_ARRAY(struct create_body, create.contacts, create.contacts_count, "Contacts",
                 CODEC_OMIT_ZERO, 0, &contact_element)},
    {CODEC_ENUM(struct create_body, create.account_type, "AccountType", CODEC_REQUIRED,
                registry_account_names)},
};
static const struct codec_table create_table = CODEC_TABLE(struct create_body, create_fields);

static cJSON *show_domain(const struct registry_domain *d)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "DomainUID", d->id);
    (void)cJSON_AddStringToObject(json, "Name", d->name);
    api_add_text(json, "Company", d->company);
    api_add_text(json, "Address", d->address);
    cJSON *contacts = cJSON_AddArrayToObject(json, "Contacts");
    for (size_t i = 0; i < d->contacts_count; i++) {
        cJSON *contact = cJSON_CreateObject();
        api_add_text(contact, "Name", d->contacts[i].name);
        (void)cJSON_AddStringToObject(contact, "Email", d->contacts[i].email);
        (void)cJSON_AddStringToObject(
            contact, "Role", codec_name_of(registry_contact_role_names, (int)d->contacts[i].role));
        (void)cJSON_AddItemToArray(contacts, contact);
    }
    (void)cJSON_AddStringToObject(json, "AccountType",
                                  codec_name_of(registry_account_names, (int)d->account_type));
    cJSON *limits = cJSON_AddObjectToObject(json, "Limits");
    (void)cJSON_AddNumberToObject(limits, "RootCAs", d->limits.cas);
    (void)cJSON_AddNumberToObject(limits, "AccessKeys", d->limits.access_keys);
    cJSON *usage = cJSON_AddObjectToObject(json, "Usage");
    (void)cJSON_AddNumberToObject(usage, "RootCAs", d->usage.cas);
    (void)cJSON_AddNumberToObject(usage, "AccessKeys", d->usage.access_keys);
    (void)cJSON_AddNumberToObject(usage, "DeviceProfiles", d->usage.profiles);
    (void)cJSON_AddNumberToObject(usage, "Webhooks", d->usage.webhooks);
    api_add_time(json, "CreatedAt", d->created_at);
    return json;
}

static cJSON *show_result(const cJSON *result, const cJSON *asked)
{
    (void)asked;
    CLEANUP(registry_record_free)
    struct registry_record *r = registry_from_result(REGISTRY_DOMAIN, result);
    return r != NULL ? show_domain(&r->of.domain) : NULL;
}

static void create(struct exchange *x)
{
    const struct create_body *body = x->body;
    struct ask ask;
    struct uuid id;
    if (!write_begin(x, REGISTRY_REQUEST_DOMAIN_CREATE, &ask, &id)) {
        return;
    }
    /* the domain is the aggregate: it names its own partition */
    uuid_format(&id, x->domain);
    memcpy(ask.key, x->domain, sizeof ask.key);
    memcpy(x->caller->domain, x->domain, sizeof x->domain);
    ask_one(x, &ask, &id, write_body(&registry_domain_create_table, &body->create));
    ask_send(x, &ask);
}

static void get(struct exchange *x)
{
    CLEANUP(registry_record_free)
    struct registry_record *r = registry_read(x, REGISTRY_DOMAIN, x->domain, "DomainUID");
    if (r != NULL) {
        api_reply(x, 200, show_domain(&r->of.domain));
    }
}

static void record_key(const char *member, const char *id, char out[PAGE_KEY_SIZE])
{
    (void)member;
    registry_key(id, REGISTRY_DOMAIN, id, out);
}

static cJSON *show_row(struct exchange *x, const void *ctx, struct span payload)
{
    (void)x;
    (void)ctx;
    CLEANUP(registry_record_free) struct registry_record *r = NULL;
    return registry_record_decode(REGISTRY_DOMAIN, payload, &r) == ERR_OK
               ? show_domain(&r->of.domain)
               : NULL;
}

static void list(struct exchange *x)
{
    const struct api_page_body *body = x->body;
    const struct page page = {.letter = VIEW_REGISTRY,
                              .index = "domains",
                              .partition = -1,
                              .prefix = "",
                              .after = body->after,
                              .key = record_key,
                              .show = show_row};
    page_reply(x, &page);
}

const struct api_call calls_domain[] = {
    {.path = "/v1/domain/create",
     .access = API_OPERATOR,
     .write = true,
     .body = &create_table,
     .max_body = 16384,
     .max_values = 128,
     .serve = create,
     .show = show_result},
    {.path = "/v1/domain/get",
     .access = API_DOMAIN,
     .body = &api_empty_table,
     API_SMALL,
     .serve = get},
    {.path = "/v1/domain/list",
     .access = API_OPERATOR,
     .body = &api_page_table,
     API_SMALL,
     .serve = list},
    {0},
};
