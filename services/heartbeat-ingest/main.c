#include "app.h"
#include "config.h"

int main(int argc, char **argv)
{
    static struct config config;
    const struct service_spec spec = {.config = &config_spec,
                                      .settings = &config,
                                      .common = &config.common,
                                      .start = app_start,
                                      .ready = app_ready,
                                      .free = app_free};
    return service_main(&spec, argc, argv);
}
