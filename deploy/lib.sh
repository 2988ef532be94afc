# shellcheck shell=bash
# What the scripts of deploy/ and tests/ share: messages, ports, waiting by condition, and processes that are
# started in the background and stopped again by their own process id. Sourced by bash with `set -eu`.

FLEETSEAL_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Downloaded jars and the Python environment of the tests; safe to delete, safe to share between checkouts.
# shellcheck disable=SC2034 # used by the scripts that source this file
FLEETSEAL_CACHE=${FLEETSEAL_CACHE:-$FLEETSEAL_ROOT/deploy/.cache}

say()
{
    printf '%s\n' "$*" >&2
}

die()
{
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Is there a socket, in any state, on this local port?
port_in_use()
{
    local hex
    hex=$(printf ':%04X ' "$1")
    grep -qs -- "$hex" /proc/net/tcp /proc/net/tcp6
}

# Prints a free loopback port below the range from which the kernel hands out ports to clients. Claims last two
# minutes, so that stacks that start at the same moment do not choose the same one.
free_port()
{
    local claims=/tmp/fleetseal-ports.$UID port tries
    [ -d "$claims" ] || (umask 077 && mkdir -p "$claims")
    [ -O "$claims" ] || die "$claims belongs to somebody else"
    find "$claims" -mindepth 1 -maxdepth 1 -mmin +2 -exec rmdir {} + 2>/dev/null || true
    for tries in $(seq 200); do
        port=$((10000 + (RANDOM * 32768 + RANDOM + tries) % 22000))
        if ! port_in_use "$port" && mkdir "$claims/$port" 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
    die "found no free port below 32000"
}

# wait_for SECONDS WHAT COMMAND...: runs COMMAND until it succeeds. Past the deadline it says what was awaited and fails.
wait_for()
{
    local seconds=$1 what=$2 deadline
    shift 2
    deadline=$((${EPOCHREALTIME/[.,]/} + seconds * 1000000))
    until "$@"; do
        if [ "${EPOCHREALTIME/[.,]/}" -ge "$deadline" ]; then
            say "waited ${seconds} s in vain for $what"
            return 1
        fi
        sleep 0.05
    done
}

port_answers()
{
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# The time a process was started, in clock ticks since boot: with the pid it names one process for ever.
process_birth()
{
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The second field is the program's name in brackets and may hold blanks.
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    [ "$1" != Z ] && echo "${20}"
}

# process_running DIR NAME: is the process that start_process started there still alive? One that had died before its
# birth could be noted has none, as a process has that is gone: the two are not the same.
process_running()
{
    local pid birth
    pid=$(cat "$1/$2.pid" 2>/dev/null) && birth=$(cat "$1/$2.birth" 2>/dev/null) || return 1
    [ -n "$birth" ] && [ "$(process_birth "$pid")" = "$birth" ]
}

# start_process DIR NAME COMMAND...: in the background, in its own session, output appended to DIR/NAME.log, pid in
# DIR/NAME.pid. Descriptors above 2 are not inherited, so that no lock outlives the script that holds it.
start_process()
{
    local dir=$1 name=$2 fd variable pid
    shift 2
    (
        for fd in /proc/self/fd/*; do
            fd=${fd##*/}
            [ "$fd" -le 2 ] || eval "exec $fd>&-"
        done
        # A service reads settings from variables of this prefix; those of the person at the shell are not meant.
        for variable in ${!FLEETSEAL_@}; do
            unset "$variable"
        done
        exec setsid "$@"
    ) </dev/null >>"$dir/$name.log" 2>&1 &
    pid=$!
    echo "$pid" >"$dir/$name.pid"
    process_birth "$pid" >"$dir/$name.birth" || true
}

process_gone()
{
    ! process_running "$1" "$2"
}

# signal_process DIR NAME: asks it to end, once: to our services a second signal means "at once".
signal_process()
{
    process_running "$1" "$2" || return 0
    kill -TERM "$(cat "$1/$2.pid")" 2>/dev/null || true
    # A process that somebody stopped would never see it.
    kill -CONT "$(cat "$1/$2.pid")" 2>/dev/null || true
}

# await_process DIR NAME SECONDS: waits for its end, past the deadline KILL. Returns 1 when it had to be killed.
await_process()
{
    local killed=0
    if ! wait_for "$3" "$2 to end" process_gone "$1" "$2"; then
        kill_process "$1" "$2"
        killed=1
    fi
    rm -f "$1/$2.pid" "$1/$2.birth"
    return "$killed"
}

# stop_process DIR NAME [SECONDS]: both; 0 also when it was not running.
stop_process()
{
    signal_process "$1" "$2"
    await_process "$1" "$2" "${3:-15}"
}

# kill_process DIR NAME: at once, as a crash would.
kill_process()
{
    if process_running "$1" "$2"; then
        kill -KILL "$(cat "$1/$2.pid")" 2>/dev/null || true
        wait_for 10 "$2 to be gone" process_gone "$1" "$2"
    fi
    rm -f "$1/$2.pid" "$1/$2.birth"
}

# note_place DIR: which folder this is and where, for came_by.
note_place()
{
    printf '%s %s\n' "$(stat -c %i "$1")" "$(cd "$1" && pwd -P)" >"$1/place"
}

# came_by DIR: prints how the folder came to be where it is since note_place: by nothing (`same`), `moved` or `copied`.
came_by()
{
    local inode path
    if ! read -r inode path 2>/dev/null <"$1/place" || [ "$path" = "$(cd "$1" && pwd -P)" ]; then
        echo same
    elif [ "$inode" = "$(stat -c %i "$1")" ]; then
        echo moved
    else
        echo copied
    fi
}

# forget_copied DIR: the pid files of a copy name processes of the original, which are not to be adopted or ended.
forget_copied()
{
    [ "$(came_by "$1")" != copied ] || find "$1" \( -name '*.pid' -o -name '*.birth' \) -delete
}

# fresh_if_moved BUILD: the option that lets cmake take a build folder that was made in another place.
fresh_if_moved()
{
    local made
    made=$(sed -n 's/^CMAKE_CACHEFILE_DIR:INTERNAL=//p' "$1/CMakeCache.txt" 2>/dev/null) || return 0
    [ -z "$made" ] || [ "$made" = "$(cd "$1" && pwd -P)" ] || [ "$made" = "$(cd "$1" && pwd)" ] || echo --fresh
}

# The end of a log, indented, for messages about something that did not start.
log_tail()
{
    tail -n "${2:-15}" "$1" 2>/dev/null | sed 's/^/    /' >&2
}
