#include <ctype.h>

#include "config_internal.h"

void config_env_name(const char *key, char out[CONFIG_ENV_MAX])
{
    static const char prefix[] = "FLEETSEAL_";
    size_t n = sizeof prefix - 1;
    memcpy(out, prefix, n);
    for (; *key != 0 && n < CONFIG_ENV_MAX - 1; key++) {
        out[n++] = (char)(*key == '.' ? '_' : toupper((unsigned char)*key));
    }
    out[n] = 0;
}

static void print_default(const struct config_row *row, struct buf *to)
{
    if (row->fallback == NULL) {
        (void)buf_append_str(to, "required");
    } else if (row->fallback[0] == 0) {
        (void)buf_append_str(to, "default: none");
    } else {
        (void)buf_printf(to, "default: %s", row->fallback);
    }
}

void config_print_help(const struct config_spec *spec, struct buf *to)
{
    (void)buf_printf(
        to,
        "%s: %s\n\n"
        "Usage: %s [--config FILE] [--set KEY=VALUE]...\n"
        "  --check-config    check everything, report all problems, exit\n"
        "  --print-config    print the settings in force and where they come from\n"
        "  --help            this text (--help-markdown: the settings as a table)\n"
        "  --version         version of the program and its libraries\n\n"
        "Settings, as lines `key = value` of FILE, in the environment, or by --set; the "
        "later wins:\n",
        spec->program, spec->summary, spec->program);
    for (size_t i = 0; i < spec->count; i++) {
        const struct config_row *row = &spec->rows[i];
        char env[CONFIG_ENV_MAX];
        config_env_name(row->key, env);
        (void)buf_printf(to, "\n  %s  (%s)\n      %s\n      ", row->key, env, row->help);
        config_value_describe(row, to);
        (void)buf_append_str(to, "; ");
        print_default(row, to);
        (void)buf_append_byte(to, '\n');
    }
}

void config_print_markdown(const struct config_spec *spec, struct buf *to)
{
    (void)buf_append_str(to, "| setting | default | accepts | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < spec->count; i++) {
        const struct config_row *row = &spec->rows[i];
        const char *fallback = row->fallback == NULL   ? "required"
                               : row->fallback[0] == 0 ? "none"
                                                       : row->fallback;
        (void)buf_printf(to, "| `%s` | %s | ", row->key, fallback);
        config_value_describe(row, to);
        (void)buf_printf(to, " | %s |\n", row->help);
    }
}

void config_print_values(const struct config_problems *run, struct buf *to)
{
    for (size_t i = 0; i < run->spec->count; i++) {
        const struct config_slot *slot = &run->slots[i];
        const char *key = run->spec->rows[i].key;
        (void)buf_printf(to, "# %s\n%s =%s%s\n", slot->origin, key, slot->text[0] != 0 ? " " : "",
                         slot->text);
    }
}

void config_print_version(const struct config_spec *spec, struct buf *to)
{
    (void)buf_printf(to, "%s %s\n", spec->program, FLEETSEAL_VERSION);
    if (spec->versions != NULL) {
        spec->versions(to);
    }
}
