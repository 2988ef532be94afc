#include "ca_usage.h"

#include "extension.h"
#include "proto/ca.h"

unsigned ca_usage_bits(const int *words, size_t count)
{
    static const unsigned bits[] = {
        [CA_USAGE_DIGITAL_SIGNATURE] = USAGE_DIGITAL_SIGNATURE,
        [CA_USAGE_NON_REPUDIATION] = USAGE_NON_REPUDIATION,
        [CA_USAGE_KEY_ENCIPHERMENT] = USAGE_KEY_ENCIPHERMENT,
        [CA_USAGE_DATA_ENCIPHERMENT] = USAGE_DATA_ENCIPHERMENT,
        [CA_USAGE_KEY_AGREEMENT] = USAGE_KEY_AGREEMENT,
    };
    unsigned usage = 0;
    for (size_t i = 0; i < count; i++) {
        usage |= bits[words[i]];
    }
    return usage;
}

unsigned ca_extended_usage_bits(const int *words, size_t count)
{
    unsigned usage = 0;
    for (size_t i = 0; i < count; i++) {
        usage |= words[i] == CA_EXTENDED_SERVER_AUTH ? EXTENDED_SERVER_AUTH : EXTENDED_CLIENT_AUTH;
    }
    return usage;
}
