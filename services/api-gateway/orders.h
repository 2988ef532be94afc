/*
 * Orders as the door shows them: the scheduler's view says which devices were queued and why others
 * were not, the devices' own views say how far each one is. Handler's thread.
 */
#ifndef API_GATEWAY_ORDERS_H
#define API_GATEWAY_ORDERS_H

#include "api.h"

/* Answers with one order and each of its devices. */
void orders_get(struct exchange *x, const char *order_uid);
/* Answers with a page of orders, newest last (ASC) or first (DESC), without their devices. */
void orders_list(struct exchange *x);
/* The scheduler's answer to a new order: each device (`asked`, an array of UIDs; NULL: only the
 * refused ones) queued or refused, and why. */
cJSON *orders_show_result(const cJSON *result, const cJSON *asked);
/* `asked` of an order made before; NULL when there is no such order. */
err_t orders_recall(struct exchange *x, const char *order_uid, cJSON **ret_asked) MUST_USE;
/* What a refusal's code means, for people. */
const char *orders_code_text(const char *code);

#endif
