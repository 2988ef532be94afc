#include "common/topic_count.h"

#include "common/kafka_admin.h"
#include "common/partition.h"

#define CALL_TIMEOUT_MS 2000

err_t topic_count_learn(struct topic_count *t)
{
    if (t->partitions > 0) {
        return ERR_OK;
    }
    const struct kafka_config config = {.brokers = t->brokers, .client_id = t->client_id};
    CLEANUP(kafka_admin_free) struct kafka_admin *admin = NULL;
    err_t e = kafka_admin_new(&config, NULL, &admin);
    if (e == ERR_OK) {
        e = kafka_admin_partition_count(admin, t->topic, CALL_TIMEOUT_MS, &t->partitions);
    }
    return e != ERR_OK && err_class(e) != ERR_CLASS_RETRY ? ERR_UNAVAILABLE : e;
}

err_t topic_count_check(const struct topic_count *t, struct span key, int32_t partition,
                        struct fault *fault)
{
    int32_t right = partition_of(key, t->partitions);
    if (partition == right) {
        return ERR_OK;
    }
    return fault_set(fault, ERR_INVALID, "wrong_partition", "key",
                     "a request with this key belongs to partition %d", (int)right);
}
