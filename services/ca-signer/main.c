#include <stdio.h>

#include "app.h"
#include "common/log.h"

static int check(const struct config *config)
{
    struct fault fault = {0};
    err_t e = app_check(config, &fault);
    if (e != ERR_OK) {
        (void)fprintf(stderr, "ca-signer: keystore.kek_file: %s\n", fault.text);
    }
    return err_exit_status(e);
}

int main(int argc, char **argv)
{
    static struct config config;
    switch (config_main(&config_spec, argc, argv, &config)) {
    case CONFIG_RUN:
        break;
    case CONFIG_CHECK:
        return check(&config);
    case CONFIG_EXIT:
        return 0;
    case CONFIG_FAIL:
        return 64;
    }
    common_config_start_log(&config.common, config_spec.program);
    CLEANUP(lifecycle_free) struct lifecycle *lifecycle = NULL;
    err_t e = lifecycle_new(LIFECYCLE_STOP_MS, &lifecycle);
    if (e != ERR_OK) {
        log_fatal(NULL, "start_failed", LOG_STR("part", "lifecycle"), LOG_ERR("error", e));
        return err_exit_status(e);
    }
    CLEANUP(app_free) struct app *app = NULL;
    e = app_start(&config, lifecycle, &app);
    if (e != ERR_OK) {
        return err_exit_status(e);
    }
    log_info(NULL, "started");
    int status = lifecycle_run(lifecycle);
    config_wipe(&config_spec, &config);
    return status;
}
