/*
 * Which addresses a webhook may lead to. Customers choose URLs, so without this the notifier would
 * be a way into the operator's own network. Decided on the address that is connected to, not on the
 * name: a name can change between two look-ups, and a literal has many spellings. Pure, any thread.
 */
#ifndef WEBHOOK_NOTIFIER_ADDRESS_H
#define WEBHOOK_NOTIFIER_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* True for global unicast addresses that no registry reserves. Loopback, private, shared,
 * link-local (cloud metadata), multicast, documentation, and every IPv6 form that carries an IPv4
 * address (mapped, NAT64, 6to4, Teredo) are not. Other address families are not either. */
bool address_is_public(const struct sockaddr *address);
/* The same for an address in numbers; false for any other text. */
bool address_text_is_public(const char *text);

#endif
