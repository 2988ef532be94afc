#include "common/config.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "config_internal.h"

#define FILE_MAX     (1 << 20)
#define PROBLEMS_MAX (1 << 20)
#define TEXT_MAX     (1 << 21)
#define KEY_MAX      64

/* What the command line asks for, apart from settings. */
struct request {
    const char *file;
    enum { SHOW_NOTHING, SHOW_HELP, SHOW_MARKDOWN, SHOW_VERSION, SHOW_VALUES } show;
    bool check;
};

static void add_problem(struct config_problems *p, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add_problem_v(struct config_problems *p, const char *where, const char *format,
                          va_list args) __attribute__((format(printf, 3, 0)));
static void add_problem_v(struct config_problems *p, const char *where, const char *format,
                          va_list args)
{
    char text[512];
    (void)vsnprintf(text, sizeof text, format, args);
    (void)buf_printf(&p->text, "%s: %s\n", where, text);
    p->count++;
}

static void add_problem(struct config_problems *p, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_problem_v(p, where, format, args);
    va_end(args);
}

static size_t find_row(const struct config_spec *spec, struct span key)
{
    size_t i = 0;
    while (i < spec->count && !span_eq(span_str(spec->rows[i].key), key)) {
        i++;
    }
    return i;
}

void config_problem(struct config_problems *problems, const char *key, const char *format, ...)
{
    size_t i = find_row(problems->spec, span_str(key));
    assert(i < problems->spec->count);
    char where[CONFIG_ORIGIN_MAX + 1200];
    (void)snprintf(where, sizeof where, "%s: %s = \"%s\"", problems->slots[i].origin, key,
                   problems->slots[i].text);
    va_list args;
    va_start(args, format);
    add_problem_v(problems, where, format, args);
    va_end(args);
}

/* Letters to change, add or drop to get from one key to the other. */
static size_t edit_distance(struct span a, struct span b)
{
    size_t row[KEY_MAX + 1];
    if (a.len > KEY_MAX || b.len > KEY_MAX) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= b.len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t change = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);
            size_t step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < step ? change : step;
        }
    }
    return row[b.len];
}

static void unknown_key(struct config_problems *p, const char *where, struct span key)
{
    const char *nearest = NULL;
    size_t best = key.len / 2 + 1;
    for (size_t i = 0; i < p->spec->count; i++) {
        size_t distance = edit_distance(key, span_str(p->spec->rows[i].key));
        if (distance < best) {
            best = distance;
            nearest = p->spec->rows[i].key;
        }
    }
    int shown = (int)(key.len < KEY_MAX ? key.len : KEY_MAX);
    if (nearest != NULL) {
        add_problem(p, where, "unknown key %.*s; did you mean %s?", shown, (const char *)key.ptr,
                    nearest);
    } else {
        add_problem(p, where, "unknown key %.*s; --help lists the known ones", shown,
                    (const char *)key.ptr);
    }
}

static void put(struct config_problems *p, size_t i, const char *origin, struct span value)
{
    free(p->slots[i].text);
    p->slots[i].text = xstrndup(value.len > 0 ? (const char *)value.ptr : "", value.len);
    (void)snprintf(p->slots[i].origin, sizeof p->slots[i].origin, "%s", origin);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct span trim(struct span s)
{
    while (s.len > 0 && is_space(s.ptr[0])) {
        s = span_of(s.ptr + 1, s.len - 1);
    }
    while (s.len > 0 && is_space(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

/* Where the first `byte` is; s.len when nowhere. */
static size_t find_byte(struct span s, uint8_t byte)
{
    size_t at = 0;
    while (at < s.len && s.ptr[at] != byte) {
        at++;
    }
    return at;
}

/* `key = value` into its two sides; false without '='. */
static bool split_setting(struct span line, struct span *ret_key, struct span *ret_value)
{
    size_t at = find_byte(line, '=');
    if (at == line.len) {
        return false;
    }
    *ret_key = trim(span_of(line.ptr, at));
    *ret_value = trim(span_of(line.ptr + at + 1, line.len - at - 1));
    return true;
}

static void take_line(struct config_problems *p, const char *where, struct span line)
{
    struct span key = {0};
    struct span value = {0};
    line = trim(line);
    if (line.len == 0 || line.ptr[0] == '#') {
        return;
    }
    if (find_byte(line, 0) < line.len || !split_setting(line, &key, &value)) {
        add_problem(p, where, "expected a line `key = value`");
        return;
    }
    size_t i = find_row(p->spec, key);
    if (i == p->spec->count) {
        unknown_key(p, where, key);
    } else if (p->slots[i].text != NULL) {
        add_problem(p, where, "%s is set a second time, first at %s", p->spec->rows[i].key,
                    p->slots[i].origin);
    } else {
        put(p, i, where, value);
    }
}

static bool read_file(const char *path, struct buf *to)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    uint8_t chunk[4096];
    size_t n = 0;
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0 && buf_append(to, chunk, n) == ERR_OK) {
    }
    bool ok = ferror(file) == 0;
    (void)fclose(file);
    return ok;
}

static void take_file(struct config_problems *p, const char *path)
{
    CLEANUP_BUF struct buf content = BUF_INIT(FILE_MAX);
    if (!read_file(path, &content)) {
        add_problem(p, path, "cannot be read: %s", strerror(errno));
        return;
    }
    if (!buf_ok(&content)) {
        add_problem(p, path, "is larger than %d bytes", FILE_MAX);
        return;
    }
    struct span rest = buf_span(&content);
    for (int line = 1; rest.len > 0; line++) {
        size_t len = find_byte(rest, '\n');
        char where[CONFIG_ORIGIN_MAX];
        (void)snprintf(where, sizeof where, "%.256s:%d", path, line);
        take_line(p, where, span_of(rest.ptr, len));
        size_t used = len + (len < rest.len ? 1 : 0);
        rest = span_of(rest.ptr + used, rest.len - used);
    }
}

/* Variables of that prefix which are no setting are not ours to judge: others use it too. */
static void take_environment(struct config_problems *p, char *const *env)
{
    for (size_t i = 0; i < p->spec->count; i++) {
        char name[CONFIG_ENV_MAX];
        config_env_name(p->spec->rows[i].key, name);
        size_t len = strlen(name);
        for (char *const *e = env; *e != NULL; e++) {
            if (strncmp(*e, name, len) == 0 && (*e)[len] == '=') {
                put(p, i, name, trim(span_str(*e + len + 1)));
            }
        }
    }
}

static void take_set(struct config_problems *p, const char *setting)
{
    struct span key = {0};
    struct span value = {0};
    if (!split_setting(span_str(setting), &key, &value)) {
        add_problem(p, "--set", "expected KEY=VALUE, got \"%s\"", setting);
        return;
    }
    size_t i = find_row(p->spec, key);
    if (i == p->spec->count) {
        unknown_key(p, "--set", key);
    } else {
        put(p, i, "--set", value);
    }
}

/* True when argv[*i] is the option, in the form `--name VALUE` or `--name=VALUE`; *i then stands on
 * its last part. A missing value is told and reads as NULL. */
static bool take_option(struct config_problems *p, int argc, char *const *argv, int *i,
                        const char *name, const char **ret_value)
{
    size_t len = strlen(name);
    const char *arg = argv[*i];
    assert(arg != NULL);
    if (strncmp(arg, name, len) != 0 || (arg[len] != 0 && arg[len] != '=')) {
        return false;
    }
    *ret_value = NULL;
    if (arg[len] == '=') {
        *ret_value = arg + len + 1;
    } else if (*i + 1 < argc) {
        *ret_value = argv[++*i];
    } else if (p != NULL) {
        add_problem(p, name, "needs a value");
    }
    return true;
}

static bool take_flag(const char *arg, struct request *request)
{
    if (strcmp(arg, "--help") == 0) {
        request->show = SHOW_HELP;
    } else if (strcmp(arg, "--help-markdown") == 0) {
        request->show = SHOW_MARKDOWN;
    } else if (strcmp(arg, "--version") == 0) {
        request->show = SHOW_VERSION;
    } else if (strcmp(arg, "--print-config") == 0) {
        request->show = SHOW_VALUES;
    } else if (strcmp(arg, "--check-config") == 0) {
        request->check = true;
    } else {
        return false;
    }
    return true;
}

/* First pass over the command line: everything but what --set sets, which must come after the
 * environment. */
static struct request take_options(struct config_problems *p, int argc, char *const *argv)
{
    struct request request = {0};
    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        if (take_option(p, argc, argv, &i, "--config", &value)) {
            request.file = value;
        } else if (!take_option(p, argc, argv, &i, "--set", &value) &&
                   !take_flag(argv[i], &request)) {
            add_problem(p, argv[i], "unknown option; --help lists the known ones");
        }
    }
    return request;
}

/* Second pass; what is wrong with the options themselves was told in the first. */
static void take_sets(struct config_problems *p, int argc, char *const *argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        if (take_option(NULL, argc, argv, &i, "--config", &value)) {
            continue;
        }
        if (take_option(NULL, argc, argv, &i, "--set", &value) && value != NULL) {
            take_set(p, value);
        }
    }
}

static void parse_row(struct config_problems *p, size_t i, void *config)
{
    const struct config_row *row = &p->spec->rows[i];
    if (p->slots[i].text == NULL && row->fallback == NULL) {
        char env[CONFIG_ENV_MAX];
        config_env_name(row->key, env);
        add_problem(p, row->key, "is required: set it in the file, as %s, or by --set", env);
        return;
    }
    if (p->slots[i].text == NULL) {
        put(p, i, "default", span_str(row->fallback));
    }
    if (!config_value_parse(row, p->slots[i].text, config)) {
        CLEANUP_BUF struct buf expected = BUF_INIT(1024);
        config_value_describe(row, &expected);
        config_problem(p, row->key, "expected %s", buf_cstr(&expected));
    }
}

static void resolve(struct config_problems *p, const struct request *request, int argc,
                    char *const *argv, char *const *env, void *config)
{
    if (request->file != NULL) {
        take_file(p, request->file);
    }
    take_environment(p, env);
    take_sets(p, argc, argv);
    for (size_t i = 0; i < p->spec->count; i++) {
        parse_row(p, i, config);
    }
    if (p->count == 0 && p->spec->check != NULL) {
        p->spec->check(config, p);
    }
}

/* --help and --version need no valid configuration. */
static bool show_static(const struct config_spec *spec, const struct request *request,
                        struct buf *text)
{
    switch (request->show) {
    case SHOW_HELP:
        config_print_help(spec, text);
        return true;
    case SHOW_MARKDOWN:
        config_print_markdown(spec, text);
        return true;
    case SHOW_VERSION:
        config_print_version(spec, text);
        return true;
    default:
        return false;
    }
}

static enum config_outcome finish(struct config_problems *p, const struct request *request,
                                  void *config, struct buf *text)
{
    if (p->count > 0) {
        (void)buf_append_span(text, buf_span(&p->text));
        (void)buf_printf(text, "%s: %zu problem%s in the configuration\n", p->spec->program,
                         p->count, p->count == 1 ? "" : "s");
        config_wipe(p->spec, config);
        return CONFIG_FAIL;
    }
    if (request->show == SHOW_VALUES) {
        config_print_values(p, text);
        config_wipe(p->spec, config);
        return CONFIG_EXIT;
    }
    return request->check ? CONFIG_CHECK : CONFIG_RUN;
}

enum config_outcome config_load(const struct config_spec *spec, int argc, char *const *argv,
                                char *const *env, void *config, struct buf *text)
{
    struct config_problems p = {.spec = spec, .text = BUF_INIT(PROBLEMS_MAX)};
    p.slots = xcalloc(spec->count, sizeof *p.slots);
    memset(config, 0, spec->size);
    enum config_outcome outcome = CONFIG_EXIT;
    struct request request = take_options(&p, argc, argv);
    if (!show_static(spec, &request, text)) {
        resolve(&p, &request, argc, argv, env, config);
        outcome = finish(&p, &request, config, text);
    }
    for (size_t i = 0; i < spec->count; i++) {
        free(p.slots[i].text);
    }
    free(p.slots);
    buf_deinit(&p.text);
    return outcome;
}

enum config_outcome config_main(const struct config_spec *spec, int argc, char *const *argv,
                                void *config)
{
    CLEANUP_BUF struct buf text = BUF_INIT(TEXT_MAX);
    enum config_outcome outcome = config_load(spec, argc, argv, environ, config, &text);
    FILE *to = outcome == CONFIG_FAIL ? stderr : stdout;
    (void)fwrite(text.ptr != NULL ? (const char *)text.ptr : "", 1, text.len, to);
    (void)fflush(to);
    return outcome;
}

void config_wipe(const struct config_spec *spec, void *config)
{
    explicit_bzero(config, spec->size);
}
