# Sourced by tools/openstack.sh: where things are, and on which ports they listen.
# shellcheck shell=bash disable=SC2034,SC2154

directory=${NODEPOOL_OPENSTACK_DIRECTORY:-$root/.openstack}
software=$directory/venv
programs=$software/bin
etc=$directory/etc
log=$directory/log
run=$directory/run
state=$directory/state
clouds_yaml=$directory/clouds.yaml
database_socket=$run/mariadb.sock

# A caller's virtual environment is not ours, and nothing between us and loopback may be a proxy.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
export no_proxy="127.0.0.1,localhost${no_proxy:+,$no_proxy}" NO_PROXY="127.0.0.1,localhost"

# Each cloud has ten ports of its own, chosen when it is made: below those that the kernel gives to clients.
first_port=20000
blocks=1000

choose_block() {
    local block number
    block=$(($(cksum <<<"$directory" | cut -d' ' -f1) % blocks))
    for ((number = 0; number < blocks; number++)); do
        if block_is_free "$block"; then
            echo "$block" >"$state/block"
            return
        fi
        block=$(((block + 1) % blocks))
    done
    fail "there are no ten free ports"
}

block_is_free() {
    local port=$((first_port + 10 * $1)) offset
    for offset in 0 1 2 3 4 5 6 7; do
        ! listening $((port + offset)) || return 1
    done
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Sets the ports, and what the real virtual machines need: a bridge, and a network that no other cloud of this host has.
read_block() {
    local block port
    block=$(cat "$state/block")
    port=$((first_port + 10 * block))
    keystone_port=$port
    glance_port=$((port + 1))
    nova_port=$((port + 2))
    placement_port=$((port + 3))
    neutron_port=$((port + 4))
    rabbit_port=$((port + 5))
    rabbit_distribution_port=$((port + 6))
    epmd_port=$((port + 7))
    keystone_url=http://127.0.0.1:$keystone_port/v3
    bridge=np-vm$block
    vm_network=10.$((100 + block / 250)).$((block % 250))
}
