#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct block4 {
    uint32_t address;
    unsigned bits;
};
#define V4(a, b, c, d)                                                                             \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

/* IANA's special-purpose registry, what is not globally reachable, and multicast. */
static const struct block4 refused4[] = {
    {V4(0, 0, 0, 0), 8},      {V4(10, 0, 0, 0), 8},     {V4(100, 64, 0, 0), 10},
    {V4(127, 0, 0, 0), 8},    {V4(169, 254, 0, 0), 16}, {V4(172, 16, 0, 0), 12},
    {V4(192, 0, 0, 0), 24},   {V4(192, 0, 2, 0), 24},   {V4(192, 88, 99, 0), 24},
    {V4(192, 168, 0, 0), 16}, {V4(198, 18, 0, 0), 15},  {V4(198, 51, 100, 0), 24},
    {V4(203, 0, 113, 0), 24}, {V4(224, 0, 0, 0), 3},
};

struct block6 {
    uint8_t address[16];
    unsigned bits;
};

/* Inside 2000::/3, the only block that is global unicast: special purposes and tunnels. */
static const struct block6 refused6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23}, /* protocol assignments, Teredo, ORCHID */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x20, 0x02}, 16},             /* 6to4 */
    {{0x3f, 0xff}, 20},             /* documentation */
};
static const struct block6 global6 = {{0x20}, 3};

static bool public4(uint32_t address)
{
    for (size_t i = 0; i < sizeof refused4 / sizeof refused4[0]; i++) {
        uint32_t mask = ~UINT32_C(0) << (32 - refused4[i].bits);
        if ((address & mask) == refused4[i].address) {
            return false;
        }
    }
    return true;
}

static bool inside6(const uint8_t address[16], const struct block6 *block)
{
    size_t whole = block->bits / 8;
    unsigned rest = block->bits % 8;
    if (memcmp(address, block->address, whole) != 0) {
        return false;
    }
    uint8_t mask = (uint8_t)(0xff00u >> rest);
    return rest == 0 || (address[whole] & mask) == (block->address[whole] & mask);
}

static bool public6(const uint8_t address[16])
{
    bool result = inside6(address, &global6);
    for (size_t i = 0; i < sizeof refused6 / sizeof refused6[0]; i++) {
        result = result && !inside6(address, &refused6[i]);
    }
    return result;
}

bool address_is_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return public4(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        return public6(in6.sin6_addr.s6_addr);
    }
    return false;
}

bool address_text_is_public(const char *text)
{
    struct in_addr in;
    struct in6_addr in6;
    if (inet_pton(AF_INET, text, &in) == 1) {
        return public4(ntohl(in.s_addr));
    }
    return inet_pton(AF_INET6, text, &in6) == 1 && public6(in6.s6_addr);
}
