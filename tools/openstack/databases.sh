# Sourced by tools/openstack.sh: makes the databases; what is done already is not done again.
# shellcheck shell=bash disable=SC2154

sql() { mariadb --no-defaults -u root -S "$database_socket" "$@"; }

start_mariadb() {
    [ ${#database_socket} -le 107 ] ||
        fail "the path of the checkout is too long for a socket; set NODEPOOL_OPENSTACK_DIRECTORY to a shorter one"
    if [ ! -d "$state/mariadb/mysql" ]; then
        quietly mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$state/mariadb" \
            --auth-root-authentication-method=normal --skip-test-db || fail "MariaDB's own tables could not be made (see above)"
    fi
    # Durability costs time, and a cloud for tests may be lost.
    launch mariadb mariadbd --no-defaults --user="$(id -un)" --datadir="$state/mariadb" --socket="$database_socket" \
        --skip-networking --pid-file="$state/mariadb.pid" --character-set-server=utf8mb4 --max-connections=400 \
        --innodb-buffer-pool-size=192M --innodb-log-file-size=64M --innodb-flush-log-at-trx-commit=0 \
        --innodb-doublewrite=0 --skip-log-bin --performance-schema=0 --skip-name-resolve --secure-file-priv="$state"
    wait_for mariadb 120 sql -e 'select 1'
}

# once NAME COMMAND...: run the command unless it has succeeded before.
once() {
    local name=$1
    shift
    [ ! -e "$state/done.$name" ] || return 0
    if ! "$@" >>"$log/once-$name.log" 2>&1; then
        tail -n 20 "$log/once-$name.log" | sed 's/^/    | /' >&2
        fail "$* failed (see $log/once-$name.log)"
    fi
    : >"$state/done.$name"
}

make_databases() {
    local name waiting=()
    [ ! -e "$state/done.databases" ] || return 0
    say "Making the databases"
    for name in keystone glance placement neutron nova_api nova nova_cell0; do
        sql -e "CREATE DATABASE IF NOT EXISTS $name CHARACTER SET utf8"
    done
    for name in nova neutron; do
        once "database-$name" "fill_$name" &
        waiting+=($!)
    done
    once database-keystone fill_keystone
    once database-glance "$programs/glance-manage" --config-file "$etc/glance/glance-api.conf" db_sync
    once database-placement "$programs/placement-manage" --config-file "$etc/placement/placement.conf" db sync
    for name in "${waiting[@]}"; do wait "$name" || fail "a database could not be made (see above)"; done
    : >"$state/done.databases"
}

fill_keystone() {
    local manage=("$programs/keystone-manage" --config-dir "$etc/keystone") command
    "${manage[@]}" db_sync || return
    for command in fernet_setup credential_setup; do
        "${manage[@]}" $command --keystone-user "$(id -un)" --keystone-group "$(id -gn)" || return
    done
    "${manage[@]}" bootstrap --bootstrap-password "$(cat "$state/password")" --bootstrap-region-id RegionOne \
        --bootstrap-public-url="$keystone_url/" --bootstrap-internal-url="$keystone_url/"
}

fill_neutron() { "$programs/neutron-db-manage" --config-file "$etc/neutron/neutron.conf" upgrade heads; }

nova_manage() { "$programs/nova-manage" --config-file "$etc/nova/nova.conf" "$@"; }

fill_nova() {
    nova_manage api_db sync || return
    nova_manage cell_v2 map_cell0 --database_connection "$(database_url nova_cell0)" || return
    nova_manage cell_v2 list_cells | grep -q ' cell1 ' || nova_manage cell_v2 create_cell --name cell1 || return
    nova_manage db sync
}
