/* The strict scan that json_decode makes before cJSON sees the text. Internal to libcommon. */
#ifndef COMMON_JSON_SCAN_H
#define COMMON_JSON_SCAN_H

#include "common/json.h"

/* Checks that `text` is exactly one document within `limits`; nothing is allocated. Errors as
 * json_decode. */
MUST_USE err_t json_scan(struct span text, const struct json_limits *limits, struct fault *fault);

#endif
