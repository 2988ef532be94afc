#include "app.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/text.h"

#define CA_FILE_MAX   ((size_t)256 * 1024)
#define POLL_MS       200
#define NUDGE_WAIT_MS DEVICE_VISIT_BOUND_MS

static void close_fd(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}
CLEANUP_DEFINE_EMBEDDED(int, close_fd);

static void app_deinit(struct app *a)
{
    device_free(a->device);
    SSL_SESSION_free(a->session);
    close_fd(&a->lock_fd);
    close_fd(&a->stop_fd);
    close_fd(&a->nudge_fd);
}
CLEANUP_DEFINE_EMBEDDED(struct app, app_deinit);

static int signal_fd(int first, int second)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, first);
    (void)sigaddset(&set, second);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static err_t open_device(struct app *a, bool read_only, struct fault *fault)
{
    struct device_options options = {
        .clock = &clock_system,
        .model = a->config->model,
        .firmware = a->config->firmware,
        .agent = "fleetseal-agent/" FLEETSEAL_VERSION,
        .flood_override_s = -1,
        .read_only = read_only,
    };
    struct stat info;
    if (read_only && stat(a->config->state_dir, &info) != 0) {
        return fault_set(fault, ERR_ABSENT, "no_device", "--state-dir", "there is no device in %s",
                         a->config->state_dir);
    }
    struct storage *storage = NULL;
    err_t err = storage_open_directory(a->config->state_dir, &storage, fault);
    return err != ERR_OK ? err : device_open(storage, &options, &a->device, fault);
}

/* To change the device: the directory, its lock, then the device. */
static err_t open_locked(struct app *a, long *ret_pid, struct fault *fault)
{
    CLEANUP(storage_free) struct storage *made = NULL; /* the directory may have to be made first */
    err_t err = storage_open_directory(a->config->state_dir, &made, fault);
    if (err == ERR_OK) {
        err = lock_take(a->config->state_dir, &a->lock_fd, ret_pid, fault);
    }
    return err != ERR_OK ? err : open_device(a, false, fault);
}

static err_t read_file(const char *path, struct buf *to, struct fault *fault)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;
    while (fd >= 0) {
        uint8_t *at = buf_reserve(to, 4096);
        n = at != NULL ? read(fd, at, 4096) : -1;
        if (n <= 0) {
            break;
        }
        to->len += (size_t)n;
    }
    if (fd < 0 || n < 0) {
        return fault_set(fault, ERR_INVALID, "validation_error", "--server-ca", "%.180s: %s", path,
                         to->overflow ? "larger than 256 KiB" : strerror(errno));
    }
    return ERR_OK;
}

/* What a bootstrap brought. With the anchors of the factory the visit goes on without it: the way
 * to better ones leads through them. */
static err_t read_delivered(const struct app *a, bool needed, struct buf *to, struct fault *fault)
{
    err_t err = storage_read(a->device->storage, DEVICE_SERVER_CA_FILE, to);
    if (err == ERR_OK || err == ERR_ABSENT) {
        return ERR_OK;
    }
    if (needed) {
        return fault_set(fault, err, "storage", "", "%s cannot be read", DEVICE_SERVER_CA_FILE);
    }
    log_warn(&(struct log_context){.device = a->device->uid}, "delivered_anchors_not_read",
             LOG_STR("file", DEVICE_SERVER_CA_FILE), LOG_ERR("error", err));
    buf_clear(to);
    return ERR_OK;
}

static err_t open_server(struct app *a, struct device_server **ret, struct fault *fault)
{
    CLEANUP_BUF struct buf trusted = BUF_INIT(CA_FILE_MAX);
    CLEANUP_BUF struct buf delivered = BUF_INIT(DEVICE_SERVER_CA_MAX);
    err_t err = read_file(a->config->server_ca, &trusted, fault);
    if (err == ERR_OK) {
        err = read_delivered(a, trusted.len == 0, &delivered, fault);
    }
    if (err != ERR_OK) {
        return err;
    }
    struct device_server_options options = {
        .url = a->config->server,
        .trusted = buf_span(&trusted),
        .delivered = buf_span(&delivered),
    };
    return device_server_new(&options, ret, fault);
}

err_t app_visit(struct app *a, struct device_outcome *ret, struct fault *fault)
{
    CLEANUP(device_server_free) struct device_server *server = NULL;
    err_t err = open_server(a, &server, fault);
    if (err != ERR_OK) {
        return err;
    }
    int64_t bound = a->config->timeout_s * 1000;
    struct device_client client = {
        .server = server,
        .session = a->session,
        .wake_fd = a->stop_fd,
        .bound_ms = bound < DEVICE_VISIT_BOUND_MS ? bound : DEVICE_VISIT_BOUND_MS,
    };
    err = device_client_visit(&client, a->device, ret, fault);
    a->session = client.session;
    if (err == ERR_OK && ret->err != ERR_OK) {
        *fault = ret->fault;
        err = ret->err;
    }
    return err;
}

/* ---- commands ---- */

static err_t print_uid(struct app *a)
{
    (void)printf(a->config->json ? "{\"uid\":\"%s\"}\n" : "%s\n", a->device->uid);
    return ERR_OK;
}

static err_t seal(struct app *a, struct fault *fault)
{
    err_t err = device_seal(a->device, a->config->profile, a->config->serial, fault);
    if (err == ERR_OK) {
        (void)printf(a->config->json ? "{\"uid\":\"%s\",\"sealed\":true}\n" : "%s is sealed\n",
                     a->device->uid);
    }
    return err;
}

static err_t visit(struct app *a, struct fault *fault)
{
    struct device_outcome outcome = {.err = ERR_OK};
    err_t err = ERR_OK;
    if (a->config->command != COMMAND_BOOTSTRAP || device_needs_bootstrap(a->device) ||
        a->device->state.stage == DEVICE_STAGE_CONFIRM) {
        err = app_visit(a, &outcome, fault);
    }
    if (err == ERR_OK) {
        status_print(a->config, a->device, stdout);
    }
    return err;
}

/* Reads the device as it is now; a daemon may be changing it, so a reading that fits nothing is
 * tried again. */
static err_t look(struct app *a, struct fault *fault)
{
    err_t err = ERR_OK;
    for (int attempt = 0; attempt < 5; attempt++) {
        device_free(a->device);
        a->device = NULL;
        err = open_device(a, true, fault);
        if (err != ERR_CORRUPT) {
            break;
        }
    }
    return err;
}

static err_t status(struct app *a, struct fault *fault)
{
    struct device_client sleeper = {.wake_fd = a->stop_fd};
    int64_t end = clock_mono_ms(&clock_system) + a->config->timeout_s * 1000;
    for (;;) {
        err_t err = look(a, fault);
        if (err != ERR_OK && !(a->config->wait && err == ERR_ABSENT)) {
            return err;
        }
        bool ready = err == ERR_OK && (!a->config->wait || status_activated(a->device));
        bool late = clock_mono_ms(&clock_system) >= end;
        if (err == ERR_OK && (ready || late)) {
            status_print(a->config, a->device, stdout);
        }
        if (ready) {
            return ERR_OK;
        }
        if (late || device_client_sleep(&sleeper, POLL_MS)) {
            return fault_set(fault, ERR_TIMEOUT, "not_activated", "",
                             "the device is not activated%s%s",
                             a->device != NULL && a->device->state.last_error[0] != 0 ? ": " : "",
                             a->device != NULL ? a->device->state.last_error : "");
        }
    }
}

/* The daemon has the device: it is asked to make the heartbeat, and the result is waited for. */
static err_t nudge(struct app *a, long pid, struct fault *fault)
{
    struct device_client sleeper = {.wake_fd = a->stop_fd};
    err_t err = look(a, fault);
    if (err != ERR_OK) {
        return err;
    }
    assert(a->device != NULL);
    int64_t before = a->device->state.heartbeat_sent_ms;
    int64_t hold = 0;
    if (device_heartbeat_hold_ms(a->device, &hold) == ERR_OK && hold > 0 &&
        !device_needs_bootstrap(a->device)) {
        return fault_set(fault, ERR_BUSY, "too_early", "",
                         "the next heartbeat is allowed in %lld s", (long long)(hold + 999) / 1000);
    }
    if (pid <= 0 || kill((pid_t)pid, SIGUSR1) != 0) {
        return fault_set(fault, ERR_UNAVAILABLE, "already_running", "",
                         "another agent has the device and cannot be asked");
    }
    int64_t end = clock_mono_ms(&clock_system) + NUDGE_WAIT_MS;
    while (clock_mono_ms(&clock_system) < end && !device_client_sleep(&sleeper, POLL_MS)) {
        err = look(a, fault);
        if (err == ERR_OK && a->device != NULL && a->device->state.heartbeat_sent_ms != before) {
            status_print(a->config, a->device, stdout);
            return ERR_OK;
        }
    }
    return fault_set(fault, ERR_TIMEOUT, "no_heartbeat", "", "the running agent made no heartbeat");
}

static err_t run_locked(struct app *a, struct fault *fault)
{
    switch (a->config->command) {
    case COMMAND_UID:
        return print_uid(a);
    case COMMAND_SEAL:
        return seal(a, fault);
    case COMMAND_BOOTSTRAP:
    case COMMAND_HEARTBEAT:
        return visit(a, fault);
    case COMMAND_RUN:
        return daemon_run(a, fault);
    default:
        return ERR_INTERNAL;
    }
}

err_t app_run(const struct config *config, struct fault *fault)
{
    CLEANUP(app_deinit)
    struct app a = {.config = config, .lock_fd = -1, .stop_fd = -1, .nudge_fd = -1};
    a.stop_fd = signal_fd(SIGTERM, SIGINT);
    a.nudge_fd = signal_fd(SIGUSR1, SIGUSR1);
    (void)signal(SIGPIPE, SIG_IGN);
    if (a.stop_fd < 0 || a.nudge_fd < 0) {
        return fault_set(fault, ERR_INTERNAL, "signals", "", "no descriptor for signals");
    }
    if (config->command == COMMAND_STATUS) {
        return status(&a, fault);
    }
    if (config->command == COMMAND_UID && look(&a, fault) == ERR_OK) {
        return print_uid(&a); /* nothing to make: no lock is needed */
    }
    device_free(a.device);
    a.device = NULL;
    long pid = 0;
    err_t err = open_locked(&a, &pid, fault);
    if (err == ERR_CONFLICT && config->command == COMMAND_HEARTBEAT) {
        return nudge(&a, pid, fault);
    }
    return err != ERR_OK ? err : run_locked(&a, fault);
}
