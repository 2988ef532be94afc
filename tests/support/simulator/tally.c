#include "tally.h"

#include <math.h>

void tally_latency(struct tally *t, int64_t took_us)
{
    double sixteenths = (double)took_us / 1000.0 * 16.0;
    int bucket = sixteenths > 1.0 ? (int)ceil(log2(sixteenths) * 4.0) : 0;
    tally_add(&t->latency[bucket < TALLY_BUCKETS ? bucket : TALLY_BUCKETS - 1]);
}

/* The upper edge of the bucket in which the share lies, in milliseconds. */
static double percentile(const struct tally *t, double share)
{
    uint64_t total = 0;
    for (int i = 0; i < TALLY_BUCKETS; i++) {
        total += tally_get(&t->latency[i]);
    }
    uint64_t below = 0;
    for (int i = 0; i < TALLY_BUCKETS; i++) {
        below += tally_get(&t->latency[i]);
        if (total > 0 && (double)below >= share * (double)total) {
            return exp2((double)i / 4.0) / 16.0;
        }
    }
    return 0.0;
}

void tally_progress(const struct tally *t, const struct options *o, FILE *to)
{
    (void)fprintf(to,
                  "%s: %llu of %lld devices done, %llu installed, %llu renewals confirmed, "
                  "%llu heartbeats, %llu retries, %llu visits failed\n",
                  phase_name(o->phase), (unsigned long long)tally_get(&t->finished),
                  (long long)o->count, (unsigned long long)tally_get(&t->installed),
                  (unsigned long long)tally_get(&t->renewals_confirmed),
                  (unsigned long long)tally_get(&t->heartbeats),
                  (unsigned long long)tally_get(&t->retries),
                  (unsigned long long)tally_get(&t->visits_failed));
}

void tally_report(const struct tally *t, const struct options *o, double seconds, FILE *to)
{
    const struct {
        const char *name;
        const _Atomic uint64_t *counter;
    } rows[] = {
        {"bootstrapped", &t->bootstrapped},
        {"waiting", &t->waiting},
        {"installed", &t->installed},
        {"renewals_confirmed", &t->renewals_confirmed},
        {"heartbeats", &t->heartbeats},
        {"finished", &t->finished},
        {"failures", &t->failures},
        {"retries", &t->retries},
        {"visits_failed", &t->visits_failed},
        {"too_early", &t->too_early},
        {"handshakes_full", &t->handshakes_full},
        {"handshakes_resumed", &t->handshakes_resumed},
        {"answers_dropped", &t->answers_dropped},
        {"replays_same", &t->replays_same},
        {"replays_other", &t->replays_other},
        {"forged_refused", &t->forged_refused},
        {"forged_accepted", &t->forged_accepted},
        {"wrong_serial_refused", &t->wrong_serial_refused},
        {"wrong_serial_accepted", &t->wrong_serial_accepted},
    };
    (void)fprintf(to, "{\"phase\":\"%s\",\"devices\":%lld", phase_name(o->phase),
                  (long long)o->count);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)fprintf(to, ",\"%s\":%llu", rows[i].name,
                      (unsigned long long)tally_get(rows[i].counter));
    }
    (void)fprintf(to, ",\"visit_p50_ms\":%.3g,\"visit_p99_ms\":%.3g,\"seconds\":%.3f}\n",
                  percentile(t, 0.50), percentile(t, 0.99), seconds);
}
