#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name;
    err_class_t class;
} codes[ERR_COUNT_] = {
    [ERR_OK] = {"ok", ERR_CLASS_OK},
    [ERR_INVALID] = {"invalid", ERR_CLASS_REJECT},
    [ERR_TOO_LARGE] = {"too_large", ERR_CLASS_REJECT},
    [ERR_UNAUTHORIZED] = {"unauthorized", ERR_CLASS_REJECT},
    [ERR_FORBIDDEN] = {"forbidden", ERR_CLASS_REJECT},
    [ERR_UNSUPPORTED] = {"unsupported", ERR_CLASS_REJECT},
    [ERR_LIMIT] = {"limit", ERR_CLASS_REJECT},
    [ERR_ABSENT] = {"absent", ERR_CLASS_CONFLICT},
    [ERR_EXISTS] = {"exists", ERR_CLASS_CONFLICT},
    [ERR_CONFLICT] = {"conflict", ERR_CLASS_CONFLICT},
    [ERR_STALE] = {"stale", ERR_CLASS_CONFLICT},
    [ERR_BUSY] = {"busy", ERR_CLASS_RETRY},
    [ERR_TIMEOUT] = {"timeout", ERR_CLASS_RETRY},
    [ERR_UNAVAILABLE] = {"unavailable", ERR_CLASS_RETRY},
    [ERR_STOPPING] = {"stopping", ERR_CLASS_STOPPING},
    [ERR_CORRUPT] = {"corrupt", ERR_CLASS_BROKEN},
    [ERR_FENCED] = {"fenced", ERR_CLASS_BROKEN},
    [ERR_INTERNAL] = {"internal", ERR_CLASS_BROKEN},
};

static bool known(err_t e)
{
    return (unsigned)e < ERR_COUNT_;
}

err_class_t err_class(err_t e)
{
    return known(e) ? codes[e].class : ERR_CLASS_BROKEN;
}

const char *err_name(err_t e)
{
    return known(e) ? codes[e].name : "unknown";
}

int err_exit_status(err_t e)
{
    switch (err_class(e)) {
    case ERR_CLASS_OK:
    case ERR_CLASS_STOPPING:
        return 0;
    case ERR_CLASS_REJECT:
        return 64;
    case ERR_CLASS_CONFLICT:
        return 65;
    case ERR_CLASS_RETRY:
        return 75;
    case ERR_CLASS_BROKEN:
        break;
    }
    return 70;
}

err_t fault_set(struct fault *f, err_t e, const char *code, const char *field, const char *format,
                ...)
{
    if (f == NULL) {
        return e;
    }
    (void)snprintf(f->code, sizeof f->code, "%s", code);
    (void)snprintf(f->field, sizeof f->field, "%s", field != NULL ? field : "");
    va_list args;
    va_start(args, format);
    (void)vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    return e;
}
