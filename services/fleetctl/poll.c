#include "poll.h"

enum poll_next poll_judge(struct poll *p, err_t err, bool can_renew)
{
    if (err == ERR_UNAUTHORIZED && can_renew && !p->renewed) {
        p->renewed = true;
        return POLL_RENEW;
    }
    if (err_class(err) == ERR_CLASS_RETRY) {
        return POLL_PAUSE;
    }
    p->renewed = p->renewed && err != ERR_OK;
    return err == ERR_OK ? POLL_LOOK : POLL_END;
}

int64_t poll_take_pause(struct poll *p, int64_t left_ms, int64_t retry_after_s)
{
    int64_t asked_ms = retry_after_s * 1000;
    int64_t pause_ms = p->pause_ms < left_ms ? p->pause_ms : left_ms; /* the end is worth a look */
    int64_t longer_ms = p->pause_ms + p->pause_ms / 2;
    p->pause_ms = longer_ms < p->most_ms ? longer_ms : p->most_ms;
    if (left_ms <= 0 || asked_ms > left_ms) {
        return -1;
    }
    return asked_ms > pause_ms ? asked_ms : pause_ms;
}
