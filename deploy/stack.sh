# shellcheck shell=bash
# Where a local stack keeps what: shared by deploy/up, deploy/down and deploy/demo. Sourced behind deploy/lib.sh.
#
# FLEETSEAL_RUN: the stack's folder, default deploy/.run; another folder is another stack.
# FLEETSEAL_BUILD: where its programs were built, default build/release, which deploy/up builds.

# shellcheck disable=SC2034 # used by the scripts that source this file
run=${FLEETSEAL_RUN:-$FLEETSEAL_ROOT/deploy/.run}
build=${FLEETSEAL_BUILD:-$FLEETSEAL_ROOT/build/release}
# Links point there, from another folder.
[ "${build#/}" != "$build" ] || build=$PWD/$build
# Of one service; as many are looked for when fewer are wanted than the last time.
replicas_max=16

lock_stack()
{
    (umask 077 && mkdir -p "$run")
    run=$(cd "$run" && pwd)
    exec {stack_lock}>"$run/lock"
    flock "$stack_lock"
}

# What still runs in a stack that was moved; a copy forgets what runs in the original, whose ports it cannot have.
settle_stack()
{
    local came name
    came=$(came_by "$run")
    forget_copied "$run"
    if [ "$came" != same ]; then
        say "this stack was $came, its configuration is made anew"
        for name in $(started_services); do
            stop_process "$run/services" "$name" || true
        done
        [ "$came" = moved ] || rm -rf "$run/ports"
    fi
    note_place "$run"
}

# The services of the table, one "name replicas" per line.
service_table()
{
    sed -n 's/^\([a-z][a-z-]*\)[[:space:]]\{1,\}\([0-9]\{1,\}\).*/\1 \2/p' "$FLEETSEAL_ROOT/deploy/services.conf"
}

# The processes of services that were started and not stopped, in the order of their start.
started_services()
{
    [ ! -d "$run/services" ] || find "$run/services" -name '*.pid' -printf '%T@ %f\n' | sort -n | sed 's/^[^ ]* \(.*\)\.pid$/\1/'
}
