# Sourced by tools/openstack.sh: the system packages and the Python packages that the cloud is made of.
# shellcheck shell=bash disable=SC2154

# install_missing PROGRAM=PACKAGE...: install the packages whose program (or file) is not there.
install_missing() {
    local pair missing=() units=()
    for pair in "$@"; do
        has_file "${pair%%=*}" || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" -eq 0 ] || fail "not run as root, so nothing was installed. Run this as root, then start again:
    apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    say "Installing with apt-get: ${missing[*]}"
    (umask 022 && apt_install "${missing[@]}") || fail "apt-get could not install: ${missing[*]} (see above)"
    for pair in "${missing[@]}"; do
        case $pair in
            mariadb-server) units+=(mariadb.service) ;;
            rabbitmq-server) units+=(rabbitmq-server.service epmd.socket) ;;
            libvirt-daemon) units+=(libvirtd.service virtlogd.socket) ;;
        esac
    done
    # Debian's packages would start services at every boot. Nobody asked for that.
    if [ ${#units[@]} -gt 0 ] && [ -d /run/systemd/system ]; then quietly systemctl disable "${units[@]}" || true; fi
}

has_file() { case $1 in /*) [ -e "$1" ] ;; *) has_program "$1" ;; esac; }

packages=(mariadbd=mariadb-server /usr/lib/rabbitmq/bin/rabbitmq-server=rabbitmq-server)
libvirt_binding=/usr/lib/python3/dist-packages
vm_packages=(libvirtd=libvirt-daemon virsh=libvirt-clients qemu-system-x86_64=qemu-system-x86 qemu-img=qemu-utils
    genisoimage=genisoimage ip=iproute2 "$libvirt_binding/libvirt.py=python3-libvirt"
    "/usr/lib/$(uname -m)-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so=libvirt-daemon-driver-qemu")
guest_packages=(busybox=busybox-static cpio=cpio dropbear=dropbear-bin)

install_everything() {
    install_missing "${packages[@]}" "${vm_packages[@]}" "${guest_packages[@]}"
    install_openstack
    make_guest
}

install_openstack() {
    install_missing "${packages[@]}"
    install_services
    install_plugins
}

# The list is complete and exact, so that nothing has to be resolved.
install_services() {
    local stamp base requirements=$root/tools/openstack/requirements.txt
    stamp=$software/.$(sha256sum <"$requirements" | cut -c1-16)
    [ ! -e "$stamp" ] || return 0
    # The binding of libvirt is Debian's and needs Debian's Python.
    base=$(PATH=/usr/bin:$PATH find_python venv ensurepip) || fail "no Python 3.11 or newer with the modules venv and ensurepip"
    say "Installing OpenStack into ${software#"$root/"} (about a minute)"
    quietly "$base" -m venv --clear "$software" || fail "the virtual environment $software could not be made (see above)"
    quietly "$programs/pip" install -q --no-deps --disable-pip-version-check -r "$requirements" ||
        fail "pip could not install OpenStack (see above)"
    : >"$stamp"
}

site_packages() { "$programs/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

# Our plug-ins of Neutron and Nova, and the entry point by which Neutron finds its own.
install_plugins() {
    local site plugins=$root/tools/openstack/plugins
    site=$(site_packages)
    cp "$plugins/local_network.py" "$site/"
    cp "$plugins/controlled.py" "$site/nova/virt/"
    mkdir -p "$site/local_network-1.0.dist-info"
    printf 'Metadata-Version: 2.1\nName: local-network\nVersion: 1.0\n' >"$site/local_network-1.0.dist-info/METADATA"
    printf '[neutron.ml2.mechanism_drivers]\nlocal_network = local_network:LocalMechanismDriver\n' \
        >"$site/local_network-1.0.dist-info/entry_points.txt"
}
