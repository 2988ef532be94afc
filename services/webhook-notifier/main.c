#include "app.h"
#include "common/log.h"

/* Also what --check-config can tell beyond the settings themselves. */
static err_t read_kek(const struct config *config, struct seal_kek **ret)
{
    struct fault fault = {0};
    err_t e = seal_kek_read(config->kek_file, ret, &fault);
    if (e != ERR_OK) {
        log_fatal(NULL, "start_failed", LOG_STR("part", "webhook.kek_file"), LOG_ERR("error", e),
                  LOG_STR("text", fault.text));
    }
    return e;
}

int main(int argc, char **argv)
{
    static struct config config;
    enum config_outcome outcome = config_main(&config_spec, argc, argv, &config);
    if (outcome == CONFIG_EXIT) {
        return 0;
    }
    if (outcome == CONFIG_FAIL) {
        return 64;
    }
    common_config_start_log(&config.common, config_spec.program);
    CLEANUP(seal_kek_free) struct seal_kek *kek = NULL;
    err_t e = read_kek(&config, &kek);
    if (e != ERR_OK || outcome == CONFIG_CHECK) {
        return err_exit_status(e);
    }
    CLEANUP(lifecycle_free) struct lifecycle *lifecycle = NULL;
    e = lifecycle_new(LIFECYCLE_STOP_MS, &lifecycle);
    if (e != ERR_OK) {
        log_fatal(NULL, "start_failed", LOG_STR("part", "lifecycle"), LOG_ERR("error", e));
        return err_exit_status(e);
    }
    CLEANUP(app_free) struct app *app = NULL;
    e = app_start(&config, kek, lifecycle, &app);
    if (e != ERR_OK) {
        return err_exit_status(e);
    }
    log_info(NULL, "started");
    int status = lifecycle_run(lifecycle);
    config_wipe(&config_spec, &config);
    return status;
}
