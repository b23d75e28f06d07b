# Sourced by tools/openstack.sh: a compute host whose servers are real virtual machines (libvirt, QEMU without hardware
# help), next to the fake ones: zone az-vm, network vm. A guest learns its address from the config drive, as there is no
# DHCP; this host reaches it through a bridge. Also makes a guest.
# shellcheck shell=bash disable=SC2154

start_machines() {
    [ "$(id -u)" -eq 0 ] || fail "real virtual machines need root: for a bridge, and for tap devices"
    cloud_runs || fail "start the cloud first: tools/openstack.sh start"
    if is_alive libvirtd && is_alive nova-vm; then
        say "The host of virtual machines is running already"
        return
    fi
    read_block
    install_machines
    say "Starting the host of virtual machines"
    private_directories
    # shellcheck disable=SC2016
    launch libvirtd unshare --mount bash -c '
        for place in etc/libvirt var/lib/libvirt var/cache/libvirt run/libvirt etc/passwd etc/group; do
            mount --bind "$0/$place" "/$place"
        done
        exec libvirtd --config "$0/libvirtd.conf" --pid-file "$0/libvirtd.pid"' "$state/libvirt"
    wait_for libvirtd 60 virsh -c "$libvirt_uri" version
    make_bridge
    launch plug bash "$root/tools/openstack.sh" plug "$bridge"
    PATH="$programs:$PATH" launch nova-vm "$programs/nova-compute" \
        "--config-file=$etc/nova/nova.conf" "--config-file=$etc/nova/vm.conf"
    populate vm-network
    once vm-host nova_manage cell_v2 discover_hosts
    once vm-zone populate vm-zone
    say "Ready: zone az-vm, network vm ($vm_network.0/24 on $bridge)"
}

libvirt_uri="qemu:///system?socket=$run/libvirt-sock"

stop_machines() {
    local domain
    halt nova-vm 20
    if is_alive libvirtd; then
        for domain in $(virsh -c "$libvirt_uri" list --uuid); do virsh -c "$libvirt_uri" destroy "$domain" >/dev/null || true; done
    fi
    halt libvirtd
    halt plug
    [ ! -s "$state/block" ] || read_block
    if [ -n "${bridge:-}" ] && [ -e "/sys/class/net/$bridge" ]; then ip link del "$bridge"; fi
}

install_machines() {
    local site
    install_missing "${vm_packages[@]}"
    site=$(site_packages)
    cp --remove-destination "$libvirt_binding"/libvirt*.py "$libvirt_binding"/libvirtmod*.so "$site/"
    "$programs/python" -c 'import libvirt' || fail "python3-libvirt does not suit $programs/python; use Debian's python3 for it"
}

# libvirtd has files of its own in fixed places. It gets private ones instead, in a mount namespace, so that the
# system's libvirt and those of other clouds are left alone. It insists on a user "libvirt-qemu", too.
private_directories() {
    local private=$state/libvirt place
    umask 022
    mkdir -p "$state/nova-vm/instances"
    for place in etc/libvirt var/lib/libvirt var/cache/libvirt run/libvirt; do mkdir -p "$private/$place" "/$place"; done
    { grep -v '^libvirt-qemu:' /etc/passwd; echo "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin"; } \
        >"$private/etc/passwd"
    { grep -v '^libvirt-qemu:' /etc/group; echo "libvirt-qemu:x:64055:"; } >"$private/etc/group"
    cat >"$private/libvirtd.conf" <<END
unix_sock_dir = "$run"
auth_unix_rw = "none"
auth_unix_ro = "none"
END
    cat >"$private/etc/libvirt/qemu.conf" <<END
user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
END
    umask 077
}

make_bridge() {
    if ip -4 addr show | grep -q "inet $vm_network\.1/" && [ ! -e "/sys/class/net/$bridge" ]; then
        fail "the network $vm_network.0/24 is in use on this host: 'tools/openstack.sh reset' chooses another"
    fi
    [ -e "/sys/class/net/$bridge" ] || ip link add "$bridge" type bridge || fail "no bridge can be made here"
    ip addr replace "$vm_network.1/24" dev "$bridge"
    ip link set "$bridge" up
}

# plug BRIDGE: Nova makes a tap device for each port; this puts it into the bridge, as an agent would.
plug() {
    local device
    for device in /sys/class/net/tap*; do plug_device "${device##*/}" "$1"; done
    ip -o monitor link | while read -r _ device _; do plug_device "${device%%[:@]*}" "$1"; done
}

plug_device() {
    case $1 in tap????????-??) ;; *) return 0 ;; esac
    [ -e "/sys/class/net/$1" ] && [ ! -e "/sys/class/net/$1/master" ] || return 0
    # It may be gone again.
    if ip link set "$1" master "$2" up; then say "plugged $1"; fi
}

guest_modules='virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net
    scsi_common scsi_mod libata ata_piix cdrom sr_mod isofs'

# make_guest [DIRECTORY]: Debian's kernel for clouds, and a root file system in memory with busybox and an SSH server.
make_guest() (
    out=${1:-$directory/guest}
    # Made anew when what it is made of has changed.
    stamp=$(cat "$root/tools/openstack/machines.sh" "$root/tools/openstack/guest-init" | sha256sum | cut -c1-16)
    [ ! -e "$out/.$stamp" ] || return 0
    install_missing "${guest_packages[@]}"
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cd "$work" || exit
    chmod 755 .
    download_kernel >/dev/null 2>&1 || { quietly apt-get -q update && quietly download_kernel; } || fail "no kernel could be had (see above)"
    dpkg -x ./*.deb kernel
    install -m 644 kernel/boot/vmlinuz-* "$out/vmlinuz"
    mkdir -p guest/{bin,dev,etc/dropbear,mnt,modules,proc,root/.ssh,run,sys,tmp,var/log}
    cp "$(command -v busybox)" guest/bin/
    copy_program dropbear
    copy_program dropbearkey
    # dropbear breaks off when it is asked for an RSA key and has none; to make one in an emulated machine takes long.
    dropbearkey -t rsa -s 2048 -f guest/etc/dropbear/rsa_host_key >/dev/null 2>&1
    for module in $guest_modules; do find kernel/lib/modules -name "$module.ko" -exec cp {} guest/modules/ \;; done
    install -m 755 "$root/tools/openstack/guest-init" guest/init
    echo "$guest_modules" | tr -s ' \n' '\n' >guest/modules/order
    echo 'root:x:0:0:root:/root:/bin/sh' >guest/etc/passwd
    echo 'root:x:0:' >guest/etc/group
    (cd guest && find . | cpio -o -H newc --quiet | gzip -9) >initrd.gz
    mv initrd.gz "$out/initrd.gz"
    : >"$out/.$stamp"
    say "Made $out/vmlinuz and $out/initrd.gz"
)

# The package of the present kernel, to the working directory. Lists that are missing or old make it fail.
download_kernel() {
    local kernel
    kernel=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ {print $2; exit}')
    [ -n "$kernel" ] && apt-get download -q -o APT::Sandbox::User=root "$kernel"
}

# A program of this host and its libraries, at the same places in the guest.
copy_program() {
    local path
    path=$(command -v "$1" || echo "/usr/sbin/$1")
    install -D -m 755 "$path" "guest/bin/$1"
    ldd "$path" | grep -o '/[^ ]*' | while read -r path; do install -D -m 755 "$path" "guest$path"; done
}
