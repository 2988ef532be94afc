/* Where a customer's URL may lead: every way into the operator's own network is refused. */
#include "address.h"
#include "test_support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

static bool judge(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    bool by_text = address_text_is_public(text);
    bool by_address = false;
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        by_address = address_is_public((const struct sockaddr *)&in);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
        by_address = address_is_public((const struct sockaddr *)&in6);
    }
    assert_int_equal(by_text, by_address);
    return by_text;
}

static void refuses(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "192.168.255.255",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        /* IPv6: itself, IPv4 inside, tunnels */
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:10.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:10::1",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2002::1",
        "2002:7f00:1::",
        "2002:808:808::1",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "1fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456:789a::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (judge(texts[i])) {
            fail_msg("%s is taken for public", texts[i]);
        }
    }
}

static void allows(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "1.1.1.1",          "8.8.8.8",         "9.255.255.255",   "11.0.0.1",
        "100.63.255.255",   "100.128.0.1",     "126.255.255.255", "128.0.0.1",
        "169.253.255.255",  "169.255.0.1",     "172.15.255.255",  "172.32.0.1",
        "192.0.1.1",        "192.167.255.255", "192.169.0.1",     "198.17.255.255",
        "198.20.0.1",       "223.255.255.255", "2001:200::1",     "2001:4860:4860::8888",
        "2001:db7:ffff::1", "2001:db9::1",     "2003::1",         "2606:4700:4700::1111",
        "2a00:1450::1",     "3ffe:ffff::1",    "3fff:1000::1",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (!judge(texts[i])) {
            fail_msg("%s is not taken for public", texts[i]);
        }
    }
}

static void refuses_what_is_no_address(void **state)
{
    (void)state;
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    assert_false(address_is_public((const struct sockaddr *)&local));
    assert_false(address_text_is_public(""));
    assert_false(address_text_is_public("example.com"));
    assert_false(address_text_is_public("8.8.8"));
    assert_false(address_text_is_public("0x08080808"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses),
        cmocka_unit_test(allows),
        cmocka_unit_test(refuses_what_is_no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
