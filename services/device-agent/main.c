/* device-agent: keeps a device's certificate alive. See README.md. */
#include "app.h"
#include "common/log.h"
#include "common/text.h"

static void print_fault(const struct config *c, err_t err, const struct fault *fault)
{
    const char *text = fault->text[0] != 0 ? fault->text : err_name(err);
    if (!c->json) {
        (void)fprintf(stderr, "device-agent: %s%s%s\n", fault->field,
                      fault->field[0] != 0 ? ": " : "", text);
        return;
    }
    CLEANUP_BUF struct buf out = BUF_INIT(4096);
    (void)buf_append_str(&out, "{\"error\":");
    (void)text_append_json(&out, span_str(fault->code[0] != 0 ? fault->code : err_name(err)));
    (void)buf_append_str(&out, ",\"message\":");
    (void)text_append_json(&out, span_str(text));
    (void)fprintf(stderr, "%s}\n", buf_cstr(&out));
}

int main(int argc, char **argv)
{
    struct config config = {.command = COMMAND_HELP};
    struct fault fault = {.code = ""};
    err_t err = config_read(argc, argv, &config, &fault);
    if (err == ERR_OK && config.command == COMMAND_HELP) {
        config_help(stdout);
        return 0;
    }
    if (err == ERR_OK && config.command == COMMAND_VERSION) {
        (void)printf("device-agent %s\n", FLEETSEAL_VERSION);
        return 0;
    }
    log_init(&(struct log_options){
        .service = "device-agent", .instance = "", .level = LOG_LEVEL_INFO, .fd = 1});
    if (err == ERR_OK) {
        err = app_run(&config, &fault);
    }
    if (err != ERR_OK) {
        print_fault(&config, err, &fault);
    }
    return err_exit_status(err);
}
