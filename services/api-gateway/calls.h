/*
 * The table of calls, by the file that serves them. door.c makes routes of it.
 */
#ifndef API_GATEWAY_CALLS_H
#define API_GATEWAY_CALLS_H

#include "api.h"

/* Each list ends with a row whose path is NULL. */
extern const struct api_call calls_login[];
extern const struct api_call calls_domain[];
extern const struct api_call calls_access_key[];
extern const struct api_call calls_ca[];
extern const struct api_call calls_profile[];
extern const struct api_call calls_whitelist[];
extern const struct api_call calls_webhook[];
extern const struct api_call calls_device[];
extern const struct api_call calls_settings[];
extern const struct api_call calls_order[];
extern const struct api_call calls_request[];

/* All of them. */
extern const struct api_call *const api_calls[];
extern const size_t api_calls_count;

/* The call of a path; NULL for none. */
const struct api_call *api_call_find(const char *path);

/* proto/openapi.yaml, as it was when the program was built. */
extern const unsigned char openapi_text[];
extern const size_t openapi_size;

#endif
