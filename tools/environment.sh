# Sourced by the tools: makes sure that everything they need is there. `prepare_environment` installs what is missing
# (system packages by apt, Python packages into .venv) and says what and why. With nothing missing it needs no network.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
python=$venv/bin/python
with=

say() { printf '%s\n' "$*"; }

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Run a command silently; if it fails, show the end of what it said.
quietly() {
    local file log status=0
    file=$(mktemp)
    # It has no name any more while it is used, so that an interrupt leaves nothing.
    exec {log}<>"$file"
    rm -f "$file"
    "$@" >&"$log" 2>&1 </dev/null || status=$?
    if [ "$status" -ne 0 ]; then
        printf '    failed: %s\n' "$*" >&2
        tail -n 20 "/dev/fd/$log" | sed 's/^/    | /' >&2
    fi
    exec {log}>&-
    return "$status"
}

# The first interpreter that is new enough; the arguments are what it must be able to import besides.
find_python() {
    local candidate modules
    modules=$(IFS=,; printf '%s' "sys,$*")
    for candidate in python3 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3; do
        if "$candidate" -c "import ${modules%,}; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

has_program() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

has_java() { if [ -n "${JAVA_HOME:-}" ]; then [ -x "$JAVA_HOME/bin/java" ]; else has_program java; fi; }

has_zookeeper() {
    local jars=${ZOOKEEPER_JARS:-/usr/share/java}
    [ -e "$jars/zookeeper.jar" ] || compgen -G "$jars/zookeeper-[0-9]*.jar" >/dev/null
}

# Lines "package<tab>why" for what is missing.
missing_packages() {
    [ -x "$python" ] || find_python venv ensurepip >/dev/null || printf 'python3-venv\tPython 3.11 virtual environments\n'
    has_java || printf 'openjdk-17-jre-headless\tthe Java that ZooKeeper runs on\n'
    has_zookeeper || printf 'libzookeeper-java\tthe ZooKeeper server\n'
    [ -x /usr/sbin/sshd ] || printf 'openssh-server\tsshd, which makes this host a static node\n'
    { has_program ssh && has_program ssh-keygen; } || printf 'openssh-client\tssh and ssh-keygen, to log into nodes\n'
    has_program openssl || printf 'openssl\tcertificates for tests of ZooKeeper over TLS\n'
    case "$with" in images | *-build) missing_image_packages ;; esac
    case "$with" in images | qemu*) missing_machine_packages ;; esac
    case "$with" in images | qemu* | container*) missing_network_packages ;; esac
    case "$with" in images | container*) missing_container_packages ;; esac
    case "$with" in images) missing_check_packages ;; esac
}

# What building a small Debian image takes.
missing_image_packages() {
    has_program sudo || printf 'sudo\tdiskimage-builder does nothing without it, even as root\n'
    has_program mmdebstrap || printf 'mmdebstrap\tthe content of a Debian image\n'
    has_program mkfs.ext4 || printf 'e2fsprogs\tthe file system of an image\n'
    [ "$with" = container-build ] || has_program kpartx || printf 'kpartx\timages with partitions\n'
}

# What virtual machines on this host take.
missing_machine_packages() {
    has_program qemu-system-x86_64 || printf 'qemu-system-x86\tvirtual machines\n'
    has_program qemu-img || printf 'qemu-utils\tqemu-img, to make and check disks\n'
}

# What networks of machines take that must not reach this host's own services.
missing_network_packages() {
    has_program slirp4netns || printf 'slirp4netns\tnetworks of machines\n'
}

# What containers on this host take.
missing_container_packages() {
    has_program newuidmap || printf 'uidmap\tcontainers that are not made by root\n'
}

# What tests take besides: of the files in etc/, and of containers that podman makes.
missing_check_packages() {
    has_program podman || printf 'podman\tcontainers of the local driver, where it is there\n'
    has_program runc || printf 'runc\tpodman on hosts with both versions of control groups\n'
    has_program systemd-analyze || printf 'systemd\tsystemd-analyze, which checks the units\n'
    has_program logrotate || printf 'logrotate\tchecks its file\n'
}

install_packages() {
    local missing names
    [ -x "$python" ] || find_python >/dev/null || fail "Python 3.11 or newer is needed; there is none in PATH"
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    names=$(cut -f1 <<<"$missing" | tr '\n' ' ')
    names=${names% }
    say "Missing on this machine:"
    while IFS=$'\t' read -r name why; do printf '    %-26s %s\n' "$name" "$why"; done <<<"$missing"
    has_program apt-get || fail "this machine has no apt-get: install what is listed above (Debian's names) by other means"
    if [ "$(id -u)" -ne 0 ]; then
        fail "not run as root, so nothing was installed. Run this as root, then start again:
    apt-get update && apt-get install --no-install-recommends $names"
    fi
    say "Installing with apt-get (about a minute): $names"
    # shellcheck disable=SC2086
    apt_install $names || fail "apt-get could not install: $names (see above)"
    [ -z "$(missing_packages)" ] || fail "still missing after the installation: $(missing_packages | cut -f1 | tr '\n' ' ')"
}

apt_install() {
    local name known=yes apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120)
    for name in "$@"; do
        [ -n "$(apt-cache show "$name" 2>/dev/null)" ] || known=no
    done
    if [ $known = no ]; then
        quietly "${apt[@]}" update || return 1
    fi
    install_without_services "${apt[@]}" install --no-install-recommends "$@" && return
    # The package lists may be older than what the mirror still has.
    quietly "${apt[@]}" update && install_without_services "${apt[@]}" install --no-install-recommends "$@"
}

# openssh-server would start an sshd on port 22, open to the network, now and at every boot. Nobody asked for that.
install_without_services() {
    local policy=/usr/sbin/policy-rc.d ours=no had_sshd=no status=0
    [ -x /usr/sbin/sshd ] && had_sshd=yes
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && ours=yes
    fi
    quietly "$@" || status=$?
    if [ $ours = yes ]; then rm -f $policy; fi
    if [ $had_sshd = no ] && [ -d /run/systemd/system ] && has_program systemctl; then
        quietly systemctl disable ssh.service || true
        say "    (the system's own ssh service stays off; to have it: systemctl enable --now ssh)"
    fi
    return $status
}

environment_stamp() { { printf "%s\n" "$root"; cat "$root/pyproject.toml" "$root/constraints.txt"; } | sha256sum | cut -d' ' -f1; }

install_python_packages() {
    local stamp=$venv/.complete base
    [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(environment_stamp)" ] && return
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        base=$(find_python venv ensurepip) || fail "no Python 3.11 or newer with the modules venv and ensurepip"
        say "Making the virtual environment .venv with $base"
        quietly "$base" -m venv --clear "$venv" || fail "the virtual environment $venv could not be made (see above)"
    fi
    say "Installing Nodepool and its Python packages into .venv, in the versions of constraints.txt (about a minute)"
    pip_install setuptools || fail "pip could not install setuptools (see above)"
    pip_install --no-build-isolation -e "${root}[test,doc]" || fail "pip could not install the Python packages (see above)"
    environment_stamp >"$stamp"
}

pip_install() { quietly "$python" -m pip install --disable-pip-version-check -q -c "$root/constraints.txt" "$@"; }

# `prepare_environment qemu|container` installs what such machines need, too, with `-build` also what building their image
# needs; `images` means all of it.
prepare_environment() {
    with=${1:-}
    # The lock on the checkout keeps two tools from installing at once.
    {
        flock 9
        install_packages
        install_python_packages
    } 9<"$root"
}
