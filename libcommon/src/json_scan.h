/* The strict scan through which every document goes. Internal to libcommon. */
#ifndef COMMON_JSON_SCAN_H
#define COMMON_JSON_SCAN_H

#include "common/arena.h"
#include "common/json.h"

/*
 * Checks that `text` is exactly one document within `limits`, duplicate names apart. With an arena
 * the tree is built there and handed out through `ret`; without one (NULL, as `ret`) nothing is
 * allocated. Errors as json_decode.
 */
MUST_USE err_t json_scan(struct span text, const struct json_limits *limits, struct arena *arena,
                         cJSON **ret, struct fault *fault);

#endif
