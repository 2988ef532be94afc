/* A self-signed certificate as PEM, and a block that looks like one and is none. */
#ifndef TEST_CERTIFICATE_H
#define TEST_CERTIFICATE_H

#define TEST_CERTIFICATE                                                                           \
    "-----BEGIN CERTIFICATE-----\n"                                                                \
    "MIIBdTCCARugAwIBAgIUfzHpAD4boeFzLi53+Wu5YgSf/xUwCgYIKoZIzj0EAwIw\n"                           \
    "DzENMAsGA1UEAwwEZG9vcjAgFw0yNjExMjUyMzI0NDZaGA8yMTI2MTEwMTIzMjQ0\n"                           \
    "NlowDzENMAsGA1UEAwwEZG9vcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGT+\n"                           \
    "Jop7Cyg6SmV4GoDKnzvJ+r4ZDVOGcXP8FesIwuTgnKkGqLiCCO/TxMBH+uM24+b1\n"                           \
    "WL8z+rbMOhCdX0lVWymjUzBRMB0GA1UdDgQWBBQZm3BsBuX5J5RiDTQIuR117d+o\n"                           \
    "+jAfBgNVHSMEGDAWgBQZm3BsBuX5J5RiDTQIuR117d+o+jAPBgNVHRMBAf8EBTAD\n"                           \
    "AQH/MAoGCCqGSM49BAMCA0gAMEUCIQDeJ1d+KhD4KeeG+ME4tgbx/9RHywepYDxc\n"                           \
    "4lc5kVt2zwIgUDHN9ThKISdtZQra5nNSmfAbp5qJBRnWQnt5ziSrY8s=\n"                                   \
    "-----END CERTIFICATE-----\n"
#define TEST_CERTIFICATE_DAMAGED                                                                   \
    "-----BEGIN CERTIFICATE-----\n"                                                                \
    "MIIBdTCCARugAwIBAgIUfzHpAD4boeFzLi53+Wu5YgSf/xUwCgYIKoZIzj0EAwIw\n"                           \
    "-----END CERTIFICATE-----\n"

#endif
