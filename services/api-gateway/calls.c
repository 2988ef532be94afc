#include "calls.h"

const struct api_call *const api_calls[] = {
    calls_login,   calls_domain, calls_access_key, calls_ca,    calls_profile, calls_whitelist,
    calls_webhook, calls_device, calls_settings,   calls_order, calls_request,
};
const size_t api_calls_count = sizeof api_calls / sizeof api_calls[0];

const struct api_call *api_call_find(const char *path)
{
    for (size_t i = 0; i < api_calls_count; i++) {
        for (const struct api_call *call = api_calls[i]; call->path != NULL; call++) {
            if (strcmp(call->path, path) == 0) {
                return call;
            }
        }
    }
    return NULL;
}
