/*
 * The commands of fleetctl: one table from which parsing, the request, --help and the output all
 * come. A command is a call of the API with its options; an option says which member of the request
 * it fills. Constants.
 */
#ifndef FLEETCTL_COMMANDS_H
#define FLEETCTL_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

enum option_kind {
    OPTION_TEXT,
    OPTION_NUMBER,
    OPTION_SWITCH,   /* takes on or off */
    OPTION_WORDS,    /* repeated or separated by commas: an array of texts */
    OPTION_DEVICES,  /* the same, as [{"RoTPublicUID": ...}] */
    OPTION_CONTACTS, /* EMAIL or EMAIL:ROLE, repeated: [{"Email", "Role"}] */
    OPTION_LINES,    /* a file (- for standard input) whose lines are added to the array */
    OPTION_CSV,      /* a file that is sent as it is, as text/csv */
};

struct option {
    const char *name;   /* without its dashes; NULL: the positional arguments, shown as `metavar` */
    const char *member; /* of the request; dots go into objects */
    enum option_kind kind;
    bool required;
    const char *metavar;
    const char *help;
};

struct column {
    const char *member; /* of a row; dots go into objects */
    const char *title;
};

enum command_kind {
    COMMAND_CALL,
    COMMAND_LIST,  /* pages are followed */
    COMMAND_RENEW, /* may wait for the order */
    COMMAND_LOGIN,
    COMMAND_LOGOUT,
    COMMAND_NO_DOMAIN, /* a call that acts on no domain: --domain is not sent */
};

#define COMMAND_OPTIONS_MAX 16
#define COMMAND_COLUMNS_MAX 8
struct command {
    const char *group;
    const char *verb; /* NULL for commands of one word */
    enum command_kind kind;
    const char *path;
    const char *summary;
    struct option options[COMMAND_OPTIONS_MAX];
    struct column columns[COMMAND_COLUMNS_MAX]; /* of lists; objects show everything */
    const char *
        rows; /* of an object: the member whose rows are shown as a table below it; NULL for none */
};
extern const struct command commands[];
extern const size_t commands_count;

/* NULL when there is none. `verb` may be NULL. */
const struct command *command_find(const char *group, const char *verb);
/* True when some command has this group. */
bool command_group_exists(const char *group);

#endif
