# Sourced by tools/openstack.sh: starts and stops the services.
# shellcheck shell=bash disable=SC2154

services=(mariadb epmd rabbitmq keystone placement neutron glance nova-conductor nova-scheduler nova-api nova-compute
    nova-compute2)

start_cloud() {
    install_openstack
    [ -s "$state/block" ] || choose_block
    read_block
    check_ports
    write_configuration
    say "Starting OpenStack"
    start_mariadb
    make_databases
    launch_service keystone
    start_rabbitmq
    wait_service keystone
    once identities populate identities
    launch_service placement
    launch_service neutron
    launch_service glance
    wait_service rabbitmq
    launch_service nova-conductor
    launch_service nova-scheduler
    launch_service nova-api
    wait_service placement
    launch_service nova-compute
    launch_service nova-compute2
    for name in neutron glance nova-api; do wait_service $name; done
    populate wait
    once hosts nova_manage cell_v2 discover_hosts --verbose
    once resources populate resources
}

# Start one service that was stopped by itself.
start_service() {
    read_block
    launch_service "$1"
    wait_service "$1"
}

launch_service() {
    local nova="--config-file=$etc/nova/nova.conf"
    case $1 in
        keystone) start_api keystone keystone.wsgi.api "$keystone_port" ;;
        placement) start_api placement placement.wsgi.api "$placement_port" ;;
        neutron) start_api neutron neutron.wsgi.api "$neutron_port" ;;
        glance) start_api glance glance.wsgi.api "$glance_port" ;;
        nova-api) start_api nova-api nova.wsgi.osapi_compute "$nova_port" ;;
        nova-conductor | nova-scheduler | nova-compute) launch "$1" "$programs/$1" "$nova" ;;
        nova-compute2) launch nova-compute2 "$programs/nova-compute" "$nova" "--config-file=$etc/nova/host2.conf" ;;
        *) fail "no service that can be started by itself: $1" ;;
    esac
}

wait_service() {
    case $1 in
        keystone) wait_for "$1" 180 answers "$keystone_port" ;;
        placement) wait_for "$1" 180 answers "$placement_port" ;;
        neutron) wait_for "$1" 180 answers "$neutron_port" ;;
        glance) wait_for "$1" 180 answers "$glance_port" ;;
        nova-api) wait_for "$1" 180 answers "$nova_port" ;;
        rabbitmq) wait_for "$1" 180 listening "$rabbit_port" ;;
    esac
}

# Back to front: a compute service says goodbye through the conductor, and does not end without it.
stop_cloud() {
    local group name
    stop_machines
    for group in 'nova-compute nova-compute2' 'nova-scheduler nova-conductor nova-api neutron glance placement keystone' \
        'rabbitmq mariadb epmd'; do
        for name in $group; do halt "$name" 20 & done
        wait
    done
    say "OpenStack is stopped"
}

cloud_runs() {
    local name
    for name in "${services[@]}"; do is_alive "$name" || return 1; done
    [ -e "$state/done.resources" ]
}

show_status() {
    local name
    for name in "${services[@]}" libvirtd nova-vm guard; do
        if is_alive "$name"; then say "$name: runs"; else say "$name: does not run"; fi
    done
    cloud_runs
}

# start_api NAME MODULE PORT
start_api() {
    GUNICORN_CMD_ARGS="--config=$etc/gunicorn.py" API_APPLICATION="$2:application" API_ADDRESS="127.0.0.1:$3" \
        OS_KEYSTONE_CONFIG_DIR=$etc/keystone OS_GLANCE_CONFIG_DIR=$etc/glance OS_NOVA_CONFIG_DIR=$etc/nova \
        OS_NEUTRON_CONFIG_DIR=$etc/neutron OS_NEUTRON_CONFIG_FILES=neutron.conf OS_PLACEMENT_CONFIG_DIR=$etc/placement \
        launch "$1" "$programs/gunicorn"
}

start_rabbitmq() {
    launch epmd epmd -address 127.0.0.1 -port "$epmd_port"
    wait_for epmd 60 listening "$epmd_port"
    (
        export HOME=$state/rabbitmq ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$epmd_port
        export RABBITMQ_CONF_ENV_FILE=$etc/rabbitmq-env.conf RABBITMQ_CONFIG_FILE=$etc/rabbitmq
        export RABBITMQ_ENABLED_PLUGINS_FILE=$etc/rabbitmq-plugins RABBITMQ_NODENAME=nodepool@localhost
        export RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$rabbit_port
        export RABBITMQ_DIST_PORT=$rabbit_distribution_port RABBITMQ_PID_FILE=$state/rabbitmq.pid
        export RABBITMQ_MNESIA_BASE=$state/rabbitmq/mnesia RABBITMQ_LOG_BASE=$log
        export RABBITMQ_SCHEMA_DIR=$state/rabbitmq/schema RABBITMQ_GENERATED_CONFIG_DIR=$state/rabbitmq/config
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none"
        export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS
        launch rabbitmq /usr/lib/rabbitmq/bin/rabbitmq-server
    )
}

# populate STEP: see tools/openstack/populate.py.
populate() {
    OS_CLIENT_CONFIG_FILE=$clouds_yaml "$programs/python" "$root/tools/openstack/populate.py" "$1" \
        --run "$run" --first-port "$keystone_port" --vm-network "$vm_network"
}

# Does a service answer on this port, and not with an error?
answers() (
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET / HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
    read -t 20 -r _ status _ <&3
    [ "$status" -lt 400 ]
)

check_ports() {
    local pair name port
    for pair in keystone=$keystone_port placement=$placement_port neutron=$neutron_port glance=$glance_port \
        nova-api=$nova_port rabbitmq=$rabbit_port epmd=$epmd_port; do
        name=${pair%=*} port=${pair#*=}
        if ! is_alive "$name" && listening "$port"; then
            fail "port $port, which $name needs, is taken: 'tools/openstack.sh reset' chooses other ports and makes a new cloud"
        fi
    done
}
