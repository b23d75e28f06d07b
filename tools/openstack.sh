#!/usr/bin/env bash
# A real OpenStack for tests and for trying things out: Keystone, Glance, Placement, Neutron and Nova on this machine.
# What it can do is in doc/developing.rst, "A real OpenStack".
# shellcheck disable=SC2154
set -euo pipefail
# shellcheck source=tools/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
for part in settings processes installation configuration databases services machines; do
    # shellcheck source=/dev/null
    source "$root/tools/openstack/$part.sh"
done
usage() {
    cat <<END
usage: tools/openstack.sh COMMAND

  install             install all that it is made of: MariaDB, RabbitMQ, libvirt and QEMU by apt, OpenStack by pip;
                      after this, nothing else needs the network
  start [--while PID] install what is missing, make the cloud if there is none, start it; with --while it is stopped
                      when that process has ended, unless it was running already
  start SERVICE       start one service again, such as keystone
  stop [SERVICE]      stop all of it, or one service; its servers, networks and images stay
  status              say what runs; exit with status 1 unless everything does
  reset               stop it and forget its state; the next start makes a new cloud
  wipe                stop it and remove everything, the installed Python packages included
  vm-start            add a host whose servers are real virtual machines (needs root)
  vm-stop             stop that host and its servers
  vm-guest [DIR]      make a tiny guest with an SSH server, vmlinuz and initrd.gz, in .openstack/guest or elsewhere

Everything that it writes is in ${directory#"$root/"}; it listens on loopback only. The first start takes two to three minutes
and 900 MB of disk, later ones half a minute. It needs 1.5 GB of memory.
END
}

refuse() {
    echo "tools/openstack.sh: $1; --help lists what there is" >&2
    exit 2
}

# Words after a command: none or one, and if so a service of the cloud.
check_words() {
    local command=$1 most=$2
    shift 2
    [ $# -le "$most" ] || refuse "$command takes $([ "$most" = 0 ] && echo nothing || echo "at most one word") more, not '$*'"
}

check_service() {
    local service
    [ -n "${1:-}" ] || return 0
    for service in "${services[@]}" libvirtd nova-vm; do
        [ "$1" != "$service" ] || return 0
    done
    refuse "there is no service '$1': ${services[*]}"
}

# One command at a time; what is started must not keep the lock.
locked() {
    umask 077
    mkdir -p "$directory" "$log" "$run" "$state"
    exec {lock}>"$directory/lock"
    flock "$lock"
    "$@"
}

start() {
    local owner=
    case "${1:-}" in
        '') ;;
        --while) owner=${2:?--while needs a process id} ;;
        -*) refuse "start has no option '$1'" ;;
        *) start_service "$1" && return ;;
    esac
    if cloud_runs; then
        say "OpenStack is running already"
    else
        [ -z "$owner" ] || launch guard bash "$root/tools/openstack.sh" guard "$owner"
        start_cloud
    fi
    say "Ready: export OS_CLIENT_CONFIG_FILE=$clouds_yaml OS_CLOUD=nodepool (or admin)"
}

# Runs until the process that the cloud was started for has ended, then stops the cloud.
guard() {
    tail --pid="$1" -f /dev/null
    locked stop_guarded
}

stop_guarded() {
    # Whoever stopped the cloud meanwhile may have started it again, for somebody else.
    is_process guard $$ || return 0
    rm -f "$run/guard.pid"
    stop_cloud
}

stop() {
    if [ -n "${1:-}" ]; then
        halt "$1"
        return
    fi
    stop_cloud
    # Not sooner: it stops what is left if this is interrupted.
    halt guard
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
    install | status | reset | wipe | vm-start | vm-stop) check_words "$command" 0 "$@" ;;
    stop | vm-guest) check_words "$command" 1 "$@" ;;
    start) [ "${1:-}" = --while ] || check_words start 1 "$@" ;;
esac
case $command in
    start) [[ ${1:-} == -* ]] || check_service "$@" ;;
    stop) check_service "$@" ;;
esac
case $command in
    install) locked install_everything ;;
    start) locked start "$@" ;;
    stop) locked stop "$@" ;;
    status) show_status ;;
    reset) locked stop && rm -rf -- "$state" "$etc" "$log" "$run" "$clouds_yaml" ;;
    wipe) locked stop && rm -rf -- "$directory" ;;
    vm-start) locked start_machines ;;
    vm-stop) locked stop_machines ;;
    vm-guest) locked make_guest "$@" ;;
    guard | plug) "$command" "$@" ;;
    -h | --help) usage ;;
    '') usage >&2 && exit 2 ;;
    *) refuse "there is no command '$command'" ;;
esac
