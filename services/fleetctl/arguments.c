#include "arguments.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"

#define TIMEOUT_DEFAULT_S 600
#define DIGITS_MAX        9

/* ---- files ---- */

static err_t read_all(int fd, struct buf *to)
{
    for (;;) {
        uint8_t *room = buf_reserve(to, 65536);
        if (room == NULL) {
            return ERR_TOO_LARGE;
        }
        ssize_t n = read(fd, room, 65536);
        if (n < 0 && errno != EINTR) {
            return ERR_ABSENT;
        }
        if (n == 0) {
            return ERR_OK;
        }
        to->len += n > 0 ? (size_t)n : 0;
    }
}

static err_t read_file(const char *path, struct buf *to, struct fault *fault)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fault_set(fault, ERR_ABSENT, "file", path, "cannot be opened: %s", strerror(errno));
    }
    err_t err = read_all(fd, to);
    if (!standard) {
        (void)close(fd);
    }
    if (err == ERR_TOO_LARGE) {
        return fault_set(fault, err, "file", path, "has more than %zu bytes", to->max);
    }
    return err == ERR_OK ? ERR_OK : fault_set(fault, err, "file", path, "cannot be read");
}

err_t arguments_read_line(const char *path, struct buf *to, struct fault *fault)
{
    err_t err = read_file(path, to, fault);
    if (err != ERR_OK) {
        return err;
    }
    const uint8_t *end = to->len > 0 ? memchr(to->ptr, '\n', to->len) : NULL;
    to->len = end != NULL ? (size_t)(end - to->ptr) : to->len;
    while (to->len > 0 && (to->ptr[to->len - 1] == '\r' || to->ptr[to->len - 1] == ' ')) {
        to->len--;
    }
    return to->len > 0 ? ERR_OK : fault_set(fault, ERR_INVALID, "file", path, "is empty");
}

/* ---- values ---- */

/* The object a dotted member lives in, made on the way; *ret_name is its last part. */
static cJSON *descend(cJSON *body, const char *member, const char **ret_name)
{
    const char *dot = strchr(member, '.');
    if (dot == NULL) {
        *ret_name = member;
        return body;
    }
    char outer[64];
    (void)snprintf(outer, sizeof outer, "%.*s", (int)(dot - member), member);
    cJSON *object = cJSON_GetObjectItemCaseSensitive(body, outer);
    if (object == NULL) {
        object = cJSON_AddObjectToObject(body, outer);
    }
    *ret_name = dot + 1;
    return object;
}

static cJSON *array_of(cJSON *body, const char *member)
{
    cJSON *array = cJSON_GetObjectItemCaseSensitive(body, member);
    return array != NULL ? array : cJSON_AddArrayToObject(body, member);
}

static void add_word(cJSON *body, const struct option *o, const char *word, size_t len)
{
    char *text = xstrndup(word, len);
    cJSON *array = array_of(body, o->member);
    if (o->kind == OPTION_DEVICES) {
        cJSON *device = cJSON_CreateObject();
        (void)cJSON_AddStringToObject(device, "RoTPublicUID", text);
        (void)cJSON_AddItemToArray(array, device);
    } else if (o->kind == OPTION_CONTACTS) {
        cJSON *contact = cJSON_CreateObject();
        char *colon = strchr(text, ':');
        if (colon != NULL) {
            *colon = '\0';
            (void)cJSON_AddStringToObject(contact, "Role", colon + 1);
        }
        (void)cJSON_AddStringToObject(contact, "Email", text);
        (void)cJSON_AddItemToArray(array, contact);
    } else {
        (void)cJSON_AddItemToArray(array, cJSON_CreateString(text));
    }
    free(text);
}

static void add_words(cJSON *body, const struct option *o, const char *text, const char *separators)
{
    while (*text != '\0') {
        size_t len = strcspn(text, separators);
        if (len > 0) {
            add_word(body, o, text, len);
        }
        text += len;
        text += strspn(text, separators);
    }
}

static err_t add_lines(cJSON *body, const struct option *o, const char *path, struct fault *fault)
{
    CLEANUP_BUF struct buf text = BUF_INIT(ARGUMENTS_FILE_MAX);
    err_t err = read_file(path, &text, fault);
    if (err == ERR_OK) {
        const struct option words = {.member = o->member, .kind = OPTION_WORDS};
        add_words(body, &words, buf_cstr(&text), "\r\n\t ");
    }
    return err;
}

static bool number(const char *text, int64_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > DIGITS_MAX || text[digits] != '\0') {
        return false;
    }
    *ret = 0;
    for (size_t i = 0; i < digits; i++) {
        *ret = *ret * 10 + (text[i] - '0');
    }
    return true;
}

static err_t put_switch(cJSON *object, const char *name, const char *value, const char *flag,
                        struct fault *fault)
{
    bool on = strcmp(value, "on") == 0 || strcmp(value, "true") == 0;
    if (!on && strcmp(value, "off") != 0 && strcmp(value, "false") != 0) {
        return fault_set(fault, ERR_INVALID, "argument", flag, "must be on or off");
    }
    (void)cJSON_AddBoolToObject(object, name, on);
    return ERR_OK;
}

static err_t put_value(struct arguments *a, const struct option *o, const char *value,
                       struct fault *fault)
{
    const char *flag = o->name != NULL ? o->name : o->metavar;
    int64_t parsed = 0;
    switch (o->kind) {
    case OPTION_WORDS:
    case OPTION_DEVICES:
    case OPTION_CONTACTS:
        add_words(a->body, o, value, ",");
        return ERR_OK;
    case OPTION_LINES:
        return add_lines(a->body, o, value, fault);
    case OPTION_CSV:
        a->csv_given = true;
        return read_file(value, &a->csv, fault);
    default:
        break;
    }
    const char *name = NULL;
    cJSON *object = descend(a->body, o->member, &name);
    if (cJSON_HasObjectItem(object, name)) {
        return fault_set(fault, ERR_INVALID, "argument", flag, "is given twice");
    }
    if (o->kind == OPTION_SWITCH) {
        return put_switch(object, name, value, flag, fault);
    }
    if (o->kind == OPTION_NUMBER) {
        if (!number(value, &parsed)) {
            return fault_set(fault, ERR_INVALID, "argument", flag, "must be a whole number");
        }
        (void)cJSON_AddNumberToObject(object, name, (double)parsed);
        return ERR_OK;
    }
    (void)cJSON_AddStringToObject(object, name, value);
    return ERR_OK;
}

/* ---- flags ---- */

struct global {
    const char *name;
    const char *environment; /* NULL: flag only */
    size_t offset;           /* of a const char * in struct arguments */
    const char *metavar;
    const char *help;
};
#define GLOBAL(m) offsetof(struct arguments, m)
static const struct global globals[] = {
    {"api", "FLEETSEAL_API", GLOBAL(api), "URL", "the API, such as https://fleet.example.com:8443"},
    {"ca", "FLEETSEAL_SERVER_CA", GLOBAL(server_ca), "FILE",
     "PEM file that vouches for the server; none: those of the system"},
    {"token-file", NULL, GLOBAL(token_file), "FILE", "use the token in this file"},
    {"domain", "FLEETSEAL_DOMAIN", GLOBAL(domain), "UID",
     "the domain the operator's token acts on"},
    {"idempotency-key", NULL, GLOBAL(idempotency_key), "KEY",
     "repeat a request safely; none: a new one each time"},
};
static const char global_switches[] =
    "      --json                         print the answer as JSON\n"
    "      --wait                         certificate renew: wait until all installed it, else 65\n"
    "      --timeout SECONDS              how long to wait (600)\n"
    "      --help                         this text, of a command or a group\n"
    "      --version                      the version of this program\n";

static const char **global_slot(struct arguments *a, const struct global *g)
{
    return (const char **)(void *)((char *)a + g->offset);
}

static const struct option *find_option(const struct command *c, const char *name)
{
    for (size_t i = 0; i < COMMAND_OPTIONS_MAX && c->options[i].metavar != NULL; i++) {
        const struct option *o = &c->options[i];
        bool same = name == NULL ? o->name == NULL : o->name != NULL && strcmp(o->name, name) == 0;
        if (same) {
            return o;
        }
    }
    return NULL;
}

/* Switches without a value. */
static bool take_switch(struct arguments *a, const char *name)
{
    const struct {
        const char *name;
        bool *to;
    } switches[] = {
        {"json", &a->json}, {"wait", &a->wait}, {"help", &a->help}, {"version", &a->version}};
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
        if (strcmp(switches[i].name, name) == 0) {
            *switches[i].to = true;
            return true;
        }
    }
    return false;
}

static err_t take_valued(struct arguments *a, const char *name, const char *value,
                         struct fault *fault)
{
    const struct option *o = a->command != NULL ? find_option(a->command, name) : NULL;
    if (o == NULL && strcmp(name, "timeout") == 0) {
        return value != NULL && number(value, &a->timeout_s)
                   ? ERR_OK
                   : fault_set(fault, ERR_INVALID, "argument", name, "must be a number of seconds");
    }
    const struct global *global = NULL;
    for (size_t i = 0; o == NULL && i < sizeof globals / sizeof globals[0]; i++) {
        if (strcmp(globals[i].name, name) == 0) {
            global = &globals[i];
        }
    }
    if (o == NULL && global == NULL) {
        return fault_set(fault, ERR_INVALID, "argument", name, "is not known here; see --help");
    }
    if (value == NULL) {
        return fault_set(fault, ERR_INVALID, "argument", name, "needs a value");
    }
    if (global != NULL) {
        *global_slot(a, global) = value;
        return ERR_OK;
    }
    return put_value(a, o, value, fault);
}

static err_t take_flag(struct arguments *a, char *const *argv, int argc, int *at,
                       struct fault *fault)
{
    const char *text = argv[*at] + 2;
    char name[64];
    const char *equals = strchr(text, '=');
    size_t len = equals != NULL ? (size_t)(equals - text) : strlen(text);
    (void)snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1),
                   text);
    if (equals == NULL && take_switch(a, name)) {
        return ERR_OK;
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (value == NULL && *at + 1 < argc) {
        value = argv[++*at];
    }
    return take_valued(a, name, value, fault);
}

static err_t take_positional(struct arguments *a, const char *text, struct fault *fault)
{
    const struct option *o = find_option(a->command, NULL);
    if (o == NULL) {
        return fault_set(fault, ERR_INVALID, "argument", text, "is one too many; see --help");
    }
    return put_value(a, o, text, fault);
}

/* ---- the whole ---- */

static void take_environment(struct arguments *a, char *(*get)(const char *))
{
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        if (globals[i].environment != NULL) {
            const char *value = get(globals[i].environment);
            *global_slot(a, &globals[i]) = value != NULL && value[0] != '\0' ? value : NULL;
        }
    }
    a->operator_token_file = get("FLEETSEAL_OPERATOR_TOKEN_FILE");
}

/* The command is the first one or two words; flags may stand before them. */
static err_t take_command(struct arguments *a, int argc, char *const *argv, bool *is_word,
                          struct fault *fault)
{
    const char *words[2] = {NULL, NULL};
    int at[2] = {0, 0};
    int n = 0;
    for (int i = 1; i < argc && n < 2; i++) {
        if (strncmp(argv[i], "--", 2) != 0) {
            at[n] = i;
            words[n++] = argv[i];
            continue;
        }
        bool valued = strchr(argv[i], '=') == NULL;
        struct arguments scratch = {0};
        if (valued && !take_switch(&scratch, argv[i] + 2)) {
            i++;
        }
    }
    if (n == 0) {
        return ERR_OK;
    }
    a->command = command_find(words[0], NULL);
    is_word[at[0]] = true;
    if (a->command == NULL && n == 2) {
        a->command = command_find(words[0], words[1]);
        is_word[at[1]] = true;
    }
    if (a->command == NULL && !(a->help || command_group_exists(words[0]))) {
        return fault_set(fault, ERR_INVALID, "argument", words[0], "is not a command; see --help");
    }
    if (a->command == NULL && n == 2) {
        return fault_set(fault, ERR_INVALID, "argument", words[1],
                         "is not a command of %s; see fleetctl %s --help", words[0], words[0]);
    }
    return ERR_OK;
}

static err_t check_required(const struct arguments *a, struct fault *fault)
{
    const struct command *c = a->command;
    bool any_list = false;
    bool list_wanted = false;
    for (size_t i = 0; i < COMMAND_OPTIONS_MAX && c->options[i].metavar != NULL; i++) {
        const struct option *o = &c->options[i];
        bool given = o->member != NULL && json_find(a->body, o->member) != NULL;
        if (o->required && !given) {
            return fault_set(fault, ERR_INVALID, "argument", o->name != NULL ? o->name : o->metavar,
                             "is needed: %s", o->help);
        }
        if (o->kind == OPTION_DEVICES || o->kind == OPTION_LINES) {
            list_wanted = true;
            any_list = any_list || given;
        }
    }
    if (any_list && a->csv_given) {
        return fault_set(fault, ERR_INVALID, "argument", "file",
                         "is sent as it is: devices cannot be named beside it");
    }
    if (list_wanted && !any_list && !a->csv_given) {
        return fault_set(fault, ERR_INVALID, "argument", "UID",
                         "name devices, or a --file of them");
    }
    return ERR_OK;
}

static err_t parse_rest(struct arguments *a, int argc, char *const *argv, const bool *is_word,
                        struct fault *fault)
{
    for (int i = 1; i < argc; i++) {
        err_t err = ERR_OK;
        if (strncmp(argv[i], "--", 2) == 0 && argv[i][2] != '\0') {
            err = take_flag(a, argv, argc, &i, fault);
        } else if (!is_word[i] && a->command != NULL) {
            err = take_positional(a, argv[i], fault);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

err_t arguments_parse(int argc, char *const *argv, char *(*get)(const char *),
                      struct arguments *ret, struct fault *fault)
{
    *ret = (struct arguments){.timeout_s = TIMEOUT_DEFAULT_S,
                              .body = cJSON_CreateObject(),
                              .csv = BUF_INIT(ARGUMENTS_FILE_MAX)};
    take_environment(ret, get);
    CLEANUP_FREE bool *is_word = xcalloc((size_t)argc + 1, sizeof *is_word);
    err_t err = take_command(ret, argc, argv, is_word, fault);
    if (err == ERR_OK) {
        err = parse_rest(ret, argc, argv, is_word, fault);
    }
    if (err == ERR_OK && ret->command != NULL && !ret->help && !ret->version) {
        err = check_required(ret, fault);
    }
    if (err == ERR_OK && ret->command == NULL) {
        ret->help = !ret->version;
    }
    return err;
}

void arguments_deinit(struct arguments *a)
{
    cJSON_Delete(a->body);
    buf_deinit(&a->csv);
    *a = (struct arguments){0};
}

/* ---- help ---- */

static void help_line(struct buf *to, const char *name, const char *metavar, const char *help,
                      bool required)
{
    char left[64];
    (void)snprintf(left, sizeof left, "%s%s %s", name != NULL ? "--" : "", name != NULL ? name : "",
                   metavar);
    (void)buf_printf(to, "      %-30s %s%s\n", left + (name == NULL ? 1 : 0), help,
                     required ? " (required)" : "");
}

static void help_command(const struct command *c, struct buf *to)
{
    const struct option *positional = find_option(c, NULL);
    (void)buf_printf(to, "fleetctl %s%s%s%s%s [options]\n  %s\n", c->group,
                     c->verb != NULL ? " " : "", c->verb != NULL ? c->verb : "",
                     positional != NULL ? " " : "", positional != NULL ? positional->metavar : "",
                     c->summary);
    for (size_t i = 0; i < COMMAND_OPTIONS_MAX && c->options[i].metavar != NULL; i++) {
        const struct option *o = &c->options[i];
        help_line(to, o->name, o->metavar, o->help, o->required);
    }
}

static void help_globals(struct buf *to)
{
    (void)buf_append_str(to, "\nOptions of every command:\n");
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        help_line(to, globals[i].name, globals[i].metavar, globals[i].help, false);
        if (globals[i].environment != NULL) {
            (void)buf_printf(to, "      %-30s (environment: %s)\n", "", globals[i].environment);
        }
    }
    (void)buf_append_str(to, global_switches);
    (void)buf_append_str(
        to, "\nWithout login, the operator's token is read from FLEETSEAL_OPERATOR_TOKEN_FILE.\n"
            "Exit status: 0 done; 64 a wrong argument or a refused request; 65 the present state "
            "does\nnot allow it, or there is no such thing; 75 not now, try again; 77 no right to "
            "do it;\n70 anything else.\n");
}

void arguments_help(const struct command *command, const char *group, struct buf *to)
{
    if (command != NULL) {
        help_command(command, to);
        help_globals(to);
        return;
    }
    (void)buf_append_str(to, "fleetctl COMMAND [options]: the operator's tool of Fleetseal\n\n");
    for (size_t i = 0; i < commands_count; i++) {
        const struct command *c = &commands[i];
        if (group == NULL || strcmp(group, c->group) == 0) {
            char name[48];
            (void)snprintf(name, sizeof name, "%s%s%s", c->group, c->verb != NULL ? " " : "",
                           c->verb != NULL ? c->verb : "");
            (void)buf_printf(to, "  %-20s %s\n", name, c->summary);
        }
    }
    help_globals(to);
}
