# Sourced by tools/openstack.sh: writes the configuration of every service, and clouds.yaml, anew at each start.
# shellcheck shell=bash disable=SC2154

write_configuration() {
    local password
    mkdir -p "$etc"/{keystone,glance,nova,neutron,placement} "$state"/{keystone,neutron,nova,nova-host2,nova-vm,rabbitmq} \
        "$state"/glance/{images,staging,tasks}
    [ -s "$state/password" ] || head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$state/password"
    password=$(cat "$state/password")
    configure_servers
    configure_keystone
    configure_glance
    configure_placement
    configure_neutron
    configure_nova
    configure_machines
    {
        echo 'clouds:'
        cloud_entry nodepool nodepool nodepool
        cloud_entry admin admin admin
    } >"$clouds_yaml"
}

# cloud_entry NAME USER PROJECT
cloud_entry() {
    cat <<END
  $1:
    region_name: RegionOne
    auth:
      auth_url: $keystone_url
      username: $2
      password: $password
      project_name: $3
      user_domain_name: Default
      project_domain_name: Default
END
}

database_url() { echo "mysql+pymysql://root@localhost/$1?unix_socket=$database_socket&charset=utf8"; }

# database_section SECTION DATABASE
database_section() {
    cat <<END
[$1]
connection = $(database_url "$2")
max_pool_size = 20
max_overflow = 40
END
}

service_login() {
    cat <<END
auth_type = password
auth_url = $keystone_url
username = service
password = $password
project_name = service
user_domain_id = default
project_domain_id = default
region_name = RegionOne
END
}

token_section() {
    cat <<END
[keystone_authtoken]
www_authenticate_uri = $keystone_url
service_token_roles = service
service_token_roles_required = true
token_cache_time = 5
$(service_login)
END
}

configure_servers() {
    : >"$etc/rabbitmq-env.conf"
    echo '[].' >"$etc/rabbitmq-plugins"
    cat >"$etc/rabbitmq.conf" <<END
listeners.tcp.default = 127.0.0.1:$rabbit_port
log.file = false
log.console = true
log.console.level = warning
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 200MB
END
    # The options of gunicorn travel by environment: the applications read the command line for themselves.
    cat >"$etc/gunicorn.py" <<'END'
import os

wsgi_app = os.environ["API_APPLICATION"]
bind = os.environ["API_ADDRESS"]
worker_class = "gthread"
threads = 12
timeout = 0
graceful_timeout = 5
keepalive = 65
backlog = 512
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
control_socket_disable = True
END
}

configure_keystone() {
    cat >"$etc/keystone/keystone.conf" <<END
$(database_section database keystone)
[token]
provider = fernet
expiration = 86400
[fernet_tokens]
key_repository = $etc/keystone/fernet
[credential]
key_repository = $etc/keystone/credential
[identity]
# Cheap hashes: each login costs one.
password_hash_rounds = 4
END
}

configure_glance() {
    cat >"$etc/glance/glance-api.conf" <<END
[DEFAULT]
enabled_backends = local:file
node_staging_uri = file://$state/glance/staging
enabled_import_methods = [glance-direct]
transport_url = fake://
$(database_section database glance)
$(token_section)
[glance_store]
default_backend = local
[local]
filesystem_store_datadir = $state/glance/images
[os_glance_staging_store]
filesystem_store_datadir = $state/glance/staging
[os_glance_tasks_store]
filesystem_store_datadir = $state/glance/tasks
[paste_deploy]
flavor = keystone
config_file = $software/etc/glance/glance-api-paste.ini
[oslo_concurrency]
lock_path = $state/glance
END
}

configure_placement() {
    cat >"$etc/placement/placement.conf" <<END
[api]
auth_strategy = keystone
$(database_section placement_database placement)
$(token_section)
END
}

# Neutron needs no agents: plugins/local_network.py does at once what they would report. So it needs no broker.
configure_neutron() {
    cat >"$etc/neutron/neutron.conf" <<END
[DEFAULT]
core_plugin = ml2
service_plugins = local_network.LocalRouterPlugin
auth_strategy = keystone
transport_url = fake://
dhcp_agent_notification = false
notify_nova_on_port_status_changes = true
notify_nova_on_port_data_changes = true
api_paste_config = $software/etc/neutron/api-paste.ini
state_path = $state/neutron
global_physnet_mtu = 1500
[ml2]
type_drivers = flat,local
tenant_network_types = local
mechanism_drivers = local_network
extension_drivers = port_security
[ml2_type_flat]
flat_networks = public
[quotas]
quota_network = 100
quota_port = 2000
quota_floatingip = 200
quota_security_group = 100
[nova]
$(service_login)
[oslo_concurrency]
lock_path = $state/neutron
$(database_section database neutron)
$(token_section)
END
}

# The conductor and the scheduler get one process each: several schedulers mix up Placement's answers, it seems on a
# connection that their parent had opened.
configure_nova() {
    cp "$software/etc/nova/api-paste.ini" "$etc/nova/api-paste.ini"
    cat >"$etc/nova/nova.conf" <<END
[DEFAULT]
host = host1
compute_driver = controlled.ControlledDriver
transport_url = rabbit://guest:guest@127.0.0.1:$rabbit_port/
state_path = $state/nova
report_interval = 3
graceful_shutdown_timeout = 5
manager_shutdown_timeout = 0
vif_plugging_timeout = 0
vif_plugging_is_fatal = false
reserved_host_memory_mb = 0
[api]
auth_strategy = keystone
$(database_section database nova)
$(database_section api_database nova_api)
[glance]
service_type = image
$(service_login)
[neutron]
$(service_login)
[placement]
$(service_login)
[service_user]
send_service_user_token = true
$(service_login)
[quota]
instances = 200
cores = 400
ram = 1048576
key_pairs = 200
[conductor]
workers = 1
[scheduler]
workers = 1
[vnc]
enabled = false
[oslo_concurrency]
lock_path = $state/nova
$(token_section)
END
    printf '[DEFAULT]\nhost = host2\nstate_path = %s\n' "$state/nova-host2" >"$etc/nova/host2.conf"
}

# The host of the real virtual machines.
configure_machines() {
    local privsep="$programs/privsep-helper --config-file=$etc/nova/nova.conf --config-file=$etc/nova/vm.conf"
    cat >"$etc/nova/vm.conf" <<END
[DEFAULT]
host = vm-host
compute_driver = libvirt.LibvirtDriver
state_path = $state/nova-vm
instances_path = $state/nova-vm/instances
force_raw_images = false
mkisofs_cmd = genisoimage
[libvirt]
virt_type = qemu
cpu_mode = none
connection_uri = qemu:///system?socket=$run/libvirt-sock
[privsep]
helper_command = $privsep
[nova_sys_admin]
helper_command = $privsep
END
}
