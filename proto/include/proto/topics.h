/*
 * The names of Fleetseal's topics and Redis guards, once. Settings (partitions, cleanup) are in
 * proto/topics.json.
 */
#ifndef PROTO_TOPICS_H
#define PROTO_TOPICS_H

#define TOPIC_REGISTRY_REQUESTS  "fleetseal.registry.requests"
#define TOPIC_REGISTRY_STATE     "fleetseal.registry.state"
#define TOPIC_CA_REQUESTS        "fleetseal.ca.requests"
#define TOPIC_CA_STATE           "fleetseal.ca.state"
#define TOPIC_CA_KEYS            "fleetseal.ca.keys"
#define TOPIC_DEVICE_REQUESTS    "fleetseal.device.requests"
#define TOPIC_DEVICE_STATE       "fleetseal.device.state"
#define TOPIC_CERTIFICATES       "fleetseal.certificates"
#define TOPIC_ORDER_REQUESTS     "fleetseal.order.requests"
#define TOPIC_ORDER_STATE        "fleetseal.order.state"
#define TOPIC_LEDGER_REQUESTS    "fleetseal.ledger.requests"
#define TOPIC_LEDGER_STATE       "fleetseal.ledger.state"
#define TOPIC_EVENTS             "fleetseal.events"
#define TOPIC_BILLING_EVENTS     "fleetseal.billing.events"
#define TOPIC_HEARTBEATS         "fleetseal.heartbeats"
#define TOPIC_WEBHOOK_REQUESTS   "fleetseal.webhook.requests"
#define TOPIC_WEBHOOK_DELIVERIES "fleetseal.webhook.deliveries"

/* Letters of the Redis views (common/view.h). */
#define VIEW_REGISTRY 'r'
#define VIEW_CA       'c'
#define VIEW_DEVICE   'd'
#define VIEW_ORDER    'o'
#define VIEW_WEBHOOK  'w'
#define VIEW_LEDGER   'l'

#endif
