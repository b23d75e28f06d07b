# Sourced by tools/openstack.sh: background processes, known by their number and the time of their birth.
# shellcheck shell=bash disable=SC2154

# When a process started, in clock ticks since boot. A number alone may be used again by another process, and the
# services of OpenStack overwrite their command line and environment.
birth() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# is_process NAME PID: is this the process that NAME stands for?
is_process() {
    local known born
    [ -s "$run/$1.pid" ] || return 1
    read -r known born <"$run/$1.pid" || return 1
    [ "$known" = "$2" ] && [ -n "$born" ] && [ "$(birth "$known")" = "$born" ]
}

is_alive() {
    local known
    [ -s "$run/$1.pid" ] || return 1
    read -r known _ <"$run/$1.pid" || return 1
    is_process "$1" "$known"
}

# launch NAME COMMAND...: run it in a session, and so a process group, of its own, unless it runs. Its own niceness
# leaves the processor to what is tested.
launch() {
    local name=$1 tries=100
    shift
    is_alive "$name" && return 0
    rm -f "$run/$name.pid"
    # shellcheck disable=SC2016
    setsid -f nice -n 5 bash -c '
        born=$(sed "s/.*) //" /proc/$$/stat | cut -d" " -f20)
        echo "$$ $born" >"$0.new" && mv "$0.new" "$0" && exec "$@"' \
        "$run/$name.pid" "$@" >>"$log/$name.log" 2>&1 </dev/null {lock}>&-
    until [ -s "$run/$name.pid" ]; do
        [ $((tries--)) -gt 0 ] || fail "$name did not start (see $log/$name.log)"
        sleep 0.1
    done
}

# halt NAME [SECONDS]: end its process group, by force if it takes longer.
halt() {
    local name=$1 tries=$((${2:-15} * 10)) pid
    if is_alive "$name"; then
        read -r pid _ <"$run/$name.pid"
        kill -TERM -- "-$pid" 2>/dev/null || true
        while [ $((tries--)) -gt 0 ] && kill -0 -- "-$pid" 2>/dev/null; do sleep 0.1; done
        if kill -KILL -- "-$pid" 2>/dev/null; then say "$name was ended by force"; fi
    fi
    rm -f "$run/$name.pid"
}

# wait_for NAME SECONDS COMMAND...: until the command succeeds.
wait_for() {
    local name=$1 end=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        is_alive "$name" || fail "$name has ended (see $log/$name.log)"
        [ $SECONDS -lt $end ] || fail "$name is not ready (see $log/$name.log)"
        sleep 0.2
    done
}
