/*
 * Errors by value.
 *
 * Every function that can fail returns `err_t`, 0 (ERR_OK) on success. The value says what the
 * caller can do about it: its class gives the reaction (answer the requester, try again, stop, give
 * up), and HTTP status, commit / retry / dead-letter and exit code are each derived from the class
 * in one table. The text for people travels beside it, in a `struct fault`, where a remote party
 * will read it. No thread-locals, no errno across a module border: codes of errno, OpenSSL, Kafka,
 * curl, hiredis and libmicrohttpd are translated once, in the module that wraps that library. All
 * functions: any thread.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include <stdbool.h>

/* Return type of fallible functions: the compiler refuses to drop it. */
#define MUST_USE __attribute__((warn_unused_result))

typedef enum err {
    ERR_OK = 0,

    /* reject: the input is at fault; the same input will never succeed */
    ERR_INVALID,      /* breaks a rule: type, range, format, missing or unknown field */
    ERR_TOO_LARGE,    /* over a limit we set */
    ERR_UNAUTHORIZED, /* no valid credential */
    ERR_FORBIDDEN,    /* a valid credential, but not for this */
    ERR_UNSUPPORTED,  /* version, method, media type, algorithm we do not speak */
    ERR_LIMIT,        /* the tenant's quota is used up */

    /* conflict: the input is fine, the present state is not */
    ERR_ABSENT,   /* no such thing */
    ERR_EXISTS,   /* already there, or a duplicate */
    ERR_CONFLICT, /* the state does not allow it now */
    ERR_STALE,    /* made for an older version, mark or sequence */

    /* retry: nothing was decided, the same call may succeed later */
    ERR_BUSY,        /* a bound is reached: queue, connections, rate */
    ERR_TIMEOUT,     /* not known in time; the outcome may still come */
    ERR_UNAVAILABLE, /* a peer (Kafka, Redis, key store, endpoint) is away */

    /* stopping: the process is going down */
    ERR_STOPPING,

    /* broken: a bug, damage or a lost invariant; nothing local can mend it */
    ERR_CORRUPT,  /* stored data cannot be read */
    ERR_FENCED,   /* another owner has taken over: rebuild from the log */
    ERR_INTERNAL, /* everything else: crypto failure, invariant broken */

    ERR_COUNT_
} err_t;

typedef enum err_class {
    ERR_CLASS_OK,
    ERR_CLASS_REJECT,
    ERR_CLASS_CONFLICT,
    ERR_CLASS_RETRY,
    ERR_CLASS_STOPPING,
    ERR_CLASS_BROKEN,
} err_class_t;

/* The reaction a code asks for. */
err_class_t err_class(err_t e);

/* A stable lower-case name ("invalid", "too_large", ...) for logs and metrics. Never NULL. */
const char *err_name(err_t e);

/* sysexits-like exit status of a program that ends with `e`: 0, 64 (reject), 65 (conflict), 75
 * (retry), 0 (stopping), 70. */
int err_exit_status(err_t e);

/*
 * What a remote party is told: which rule, which field, what would be accepted. Caller-owned, no
 * heap. `code` is the stable machine word that clients switch on ("validation_error",
 * "no_certificate", ...); `field` is empty where no field is at fault.
 */
#define FAULT_CODE_MAX  48
#define FAULT_FIELD_MAX 96
#define FAULT_TEXT_MAX  256
struct fault {
    char code[FAULT_CODE_MAX];
    char field[FAULT_FIELD_MAX];
    char text[FAULT_TEXT_MAX];
};

/*
 * Fills `f` (which may be NULL: the text is dropped) and returns `e`, so that a check is one line:
 *     return fault_set(f, ERR_INVALID, "validation_error", "Validity.Days", "must be 1..3650, is
 * %d", days); Over-long texts are cut. An already filled fault is overwritten.
 */
err_t fault_set(struct fault *f, err_t e, const char *code, const char *field, const char *format,
                ...) __attribute__((format(printf, 5, 6)));

#endif
