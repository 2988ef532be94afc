/*
 * What every unit test includes: cmocka with its prerequisites and asserts for the product's own
 * types. Header only.
 */
#ifndef SUPPORT_TEST_SUPPORT_H
#define SUPPORT_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/err.h"

#define assert_err(actual, expected)                                                               \
    do {                                                                                           \
        err_t actual_ = (actual);                                                                  \
        if (actual_ != (expected)) {                                                               \
            print_error("%s is %s, not %s\n", #actual, err_name(actual_), err_name(expected));     \
            _fail(__FILE__, __LINE__);                                                             \
        }                                                                                          \
    } while (0)
#define assert_ok(actual) assert_err(actual, ERR_OK)

#define assert_span(actual, text)                                                                  \
    do {                                                                                           \
        struct span actual_ = (actual);                                                            \
        if (!span_eq(actual_, span_str(text))) {                                                   \
            print_error("%s is \"%.*s\", not \"%s\"\n", #actual, (int)actual_.len,                 \
                        actual_.ptr != NULL ? (const char *)actual_.ptr : "", text);               \
            _fail(__FILE__, __LINE__);                                                             \
        }                                                                                          \
    } while (0)

#endif
