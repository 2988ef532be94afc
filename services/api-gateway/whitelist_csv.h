/*
 * Whitelists as CSV: one device per line, `RoTPublicUID` or `RoTPublicUID,PublicKey`, LF or CRLF,
 * an optional header line with these names; empty lines are skipped. Also what both forms, JSON and
 * CSV, do with a public key. Pure, any thread.
 */
#ifndef API_GATEWAY_WHITELIST_CSV_H
#define API_GATEWAY_WHITELIST_CSV_H

#include "proto/registry.h"

#define WHITELIST_LINES_MAX 100000

struct whitelist_entries {
    struct registry_whitelist_entry *items;
    size_t count;
    size_t capacity;
};
void whitelist_entries_deinit(struct whitelist_entries *e);
CLEANUP_DEFINE_EMBEDDED(struct whitelist_entries, whitelist_entries_deinit);

/*
 * Adds one device. `uid` in either letter case; `public_key` is base64 of a SubjectPublicKeyInfo
 * (DER), empty for none. `where` names it in the fault ("Devices[3]", "line 4"). ERR_INVALID,
 * ERR_TOO_LARGE.
 */
err_t whitelist_entries_add(struct whitelist_entries *e, struct span uid, struct span public_key,
                            const char *where, struct fault *fault) MUST_USE;
/* ERR_INVALID with the line at fault; nothing listed is ERR_INVALID too. */
err_t whitelist_csv_read(struct span text, struct whitelist_entries *to,
                         struct fault *fault) MUST_USE;

#endif
