/*
 * Prints, in hex, what the owner of a device would store in Redis for the device.v1 record on
 * stdin: so that a test of a door can put devices into the view without their owner.
 */
#include <stdio.h>

#include "common/id.h"
#include "common/view.h"
#include "proto/device.h"

#define VALUE_MAX ((size_t)64 * 1024)

static err_t value_of(struct span json, struct buf *to)
{
    struct fault fault = {0};
    CLEANUP(device_free) struct device *device = NULL;
    CLEANUP(view_record_deinit) struct view_record record;
    view_record_init(&record);
    err_t e = device_decode(json, &device, &fault);
    if (e != ERR_OK) {
        (void)fprintf(stderr, "fleetseal-view-value: %s %s\n", fault.field, fault.text);
        return e;
    }
    e = device_pack(device, &record.payload);
    return e != ERR_OK ? e : view_value_encode(&record, to);
}

int main(void)
{
    CLEANUP_BUF struct buf json = BUF_INIT(VALUE_MAX);
    CLEANUP_BUF struct buf value = BUF_INIT(VALUE_MAX);
    CLEANUP_BUF struct buf hex = BUF_INIT(2 * VALUE_MAX + 1);
    json.len = fread(buf_reserve(&json, VALUE_MAX), 1, VALUE_MAX, stdin);
    if (value_of(buf_span(&json), &value) != ERR_OK ||
        hex_append(&hex, buf_span(&value)) != ERR_OK) {
        return 1;
    }
    return puts(buf_cstr(&hex)) < 0;
}
