/*
 * fleetseal-simulator: thousands of devices in one process, over the real device library and real
 * TLS. A phase is one run; keys and what the devices remember are kept in two files between runs.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/id.h"
#include "loop.h"

static atomic_bool stop;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stop, true);
}

static void prepare_signals(void)
{
    struct sigaction quit = {.sa_handler = on_signal};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGINT, &quit, NULL);
    (void)sigaction(SIGTERM, &quit, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

static err_t list(const struct options *o, const struct fleet *fleet)
{
    for (int64_t i = o->first; i < o->first + o->count; i++) {
        char uid[DEVICE_UID_SIZE];
        CLEANUP_BUF struct buf spki = BUF_INIT(DEVICE_SPKI_MAX);
        CLEANUP_BUF struct buf text = BUF_INIT((size_t)BASE64_LEN(DEVICE_SPKI_MAX));
        err_t err = device_key_uid(fleet->keys[i], uid);
        if (err == ERR_OK) {
            err = device_key_spki(fleet->keys[i], &spki);
        }
        if (err == ERR_OK) {
            err = base64_append(&text, buf_span(&spki), BASE64_STANDARD);
        }
        if (err != ERR_OK) {
            return err;
        }
        (void)printf("%s%s%s\n", uid, o->with_keys ? "," : "", o->with_keys ? buf_cstr(&text) : "");
    }
    return ERR_OK;
}

struct work {
    struct loop loop;
    pthread_t thread;
    bool started;
    int over_fd; /* shared by all: counts the loops that are over */
};

static void *run_loop(void *arg)
{
    struct work *w = arg;
    loop_run(&w->loop);
    (void)eventfd_write(w->over_fd, 1);
    return NULL;
}

/* A line every second until `running` loops are over. */
static void watch(const struct options *o, const struct tally *tally, int over_fd, int64_t running)
{
    int64_t next = clock_mono_ms(&clock_system) + 1000;
    while (running > 0) {
        struct pollfd over = {.fd = over_fd, .events = POLLIN};
        int64_t left = next - clock_mono_ms(&clock_system);
        eventfd_t count = 0;
        if (poll(&over, 1, left > 0 ? (int)left : 0) > 0 && eventfd_read(over_fd, &count) == 0) {
            running -= (int64_t)count;
        }
        if (clock_mono_ms(&clock_system) >= next) {
            next += 1000;
            tally_progress(tally, o, stderr);
        }
    }
}

static int64_t start_works(const struct options *o, struct work *works, int over_fd)
{
    int64_t running = 0;
    for (int64_t i = 0; i < o->threads; i++) {
        works[i].over_fd = over_fd;
        works[i].started = pthread_create(&works[i].thread, NULL, run_loop, &works[i]) == 0;
        running += works[i].started ? 1 : 0;
    }
    return running;
}

static err_t run_works(const struct options *o, struct fleet *fleet, struct tally *tally,
                       struct work *works, struct fault *fault)
{
    for (int64_t i = 0; i < o->threads; i++) {
        works[i].loop = (struct loop){.tally = tally, .stop = &stop, .epoll_fd = -1};
        err_t err = loop_init(&works[i].loop, o, fleet, (size_t)i, (size_t)o->threads, fault);
        if (err != ERR_OK) {
            return err;
        }
    }
    int over_fd = eventfd(0, EFD_CLOEXEC);
    if (over_fd < 0) {
        return fault_set(fault, ERR_INTERNAL, "eventfd", "", "no descriptor left");
    }
    int64_t start = clock_mono_ms(&clock_system);
    watch(o, tally, over_fd, start_works(o, works, over_fd));
    double seconds = (double)(clock_mono_ms(&clock_system) - start) / 1000.0;
    err_t err = ERR_OK;
    unsigned told = 0;
    for (int64_t i = 0; i < o->threads; i++) {
        if (works[i].started) {
            (void)pthread_join(works[i].thread, NULL);
        }
        err_t finished = loop_finish(&works[i].loop, fleet, &told);
        err = err == ERR_OK ? finished : err;
    }
    (void)close(over_fd);
    tally_report(tally, o, seconds, stdout);
    return err;
}

static err_t run(const struct options *o, struct tally *tally, struct fault *fault)
{
    CLEANUP(fleet_free) struct fleet *fleet = NULL;
    err_t err = fleet_load_keys(o->keys_file, (size_t)o->devices, &fleet, fault);
    if (err != ERR_OK || o->phase == PHASE_LIST) {
        return err != ERR_OK ? err : list(o, fleet);
    }
    err = fleet_load_state(fleet, o->state_file, fault);
    if (err != ERR_OK) {
        return err;
    }
    struct work *works = xcalloc((size_t)o->threads, sizeof *works);
    err = run_works(o, fleet, tally, works, fault);
    for (int64_t i = 0; i < o->threads; i++) {
        if (works[i].loop.options != NULL) {
            loop_deinit(&works[i].loop);
        }
    }
    free(works);
    err_t saved = err == ERR_OK ? fleet_save_state(fleet, o->state_file, fault) : ERR_OK;
    return err == ERR_OK ? saved : err;
}

int main(int argc, char **argv)
{
    struct options o = {.phase = PHASE_LIST};
    struct fault fault = {.code = ""};
    static struct tally tally;
    bool help = false;
    prepare_signals();
    err_t err = options_read(argc, argv, &o, &help, &fault);
    if (err == ERR_OK && help) {
        options_help(stdout);
        return 0;
    }
    if (err == ERR_OK) {
        err = run(&o, &tally, &fault);
    }
    if (err != ERR_OK) {
        (void)fprintf(stderr, "fleetseal-simulator: %s\n",
                      fault.text[0] != 0 ? fault.text : err_name(err));
        return err_exit_status(err);
    }
    return tally_get(&tally.failures) == 0 ? 0 : 1;
}
