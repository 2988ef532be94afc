#include "servers.h"

#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "common/cleanup.h"
#include "test_support.h"

extern char **environ;

const char *servers_env(const char *variable)
{
    const char *value = getenv(variable);
    if (value == NULL) {
        fail_msg("%s is not set: run this by tests/run integration", variable);
    }
    return value;
}

void servers_run(const char *script, const char *dir, const char *option)
{
    CLEANUP_FREE char *path = xasprintf("%s/%s", servers_env("DEPLOY_DIR"), script);
    const char *argv[] = {path, dir, option, NULL};
    pid_t pid = 0;
    int status = -1;
    assert_int_equal(posix_spawn(&pid, path, NULL, NULL, (char *const *)argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}
