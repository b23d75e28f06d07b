"""A guest for virtual machines that needs no image to be built: a kernel, and programs of this host in memory.

It boots in a few seconds where processors are emulated, takes its identity from the firmware's tables as systemd would
(type 11: ``tmpfiles.extra``, ``sysctl.extra``), and its SSH server is this host's.
"""

from __future__ import annotations

import gzip
import io
import stat
import subprocess
import tarfile
from pathlib import Path

from tests import small_system

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("chown", "date", "base64", "sed", "mkdir", "kill")
INIT = r"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
/bin/busybox --install -s /bin
mkdir -p /dev/pts /run/sshd /var/empty
mount -t devpts pts /dev/pts
while read -r module; do [ -z "$module" ] || insmod "/modules/$module.ko"; done </modules/order
credential() { strings /sys/firmware/dmi/tables/DMI | sed -n "s/^io.systemd.credential.binary:$1=//p" | base64 -d; }
credential tmpfiles.extra | while read -r kind path mode user group age content; do
    case $kind in
    d) mkdir -p "$path" ;;
    'f+~') mkdir -p "${path%/*}"; echo "$content" | base64 -d >"$path" ;;
    *) continue ;;
    esac
    chmod "$mode" "$path"
    chown "$user:$group" "$path"
done
hostname "$(credential sysctl.extra | sed -n 's/^kernel.hostname=//p')"
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
chmod 755 / /run /bin/busybox
chmod 700 /root /root/.ssh
/usr/sbin/sshd -E /dev/ttyS0
echo "up after $(cut -d' ' -f1 /proc/uptime) s"
while true; do sleep 3600; done
"""
_BLOCK = 4


def make(directory: Path) -> None:
    """Write ``vmlinuz``, ``initrd.gz`` and an empty ``disk.raw`` to a directory."""
    subprocess.run([ROOT / "tools/openstack.sh", "vm-guest"], check=True, stdout=subprocess.DEVNULL)
    guest = ROOT / ".openstack/guest"
    (directory / "vmlinuz").write_bytes((guest / "vmlinuz").read_bytes())
    system = small_system.write(directory / "system.tar")
    # The kernel unpacks one archive over the other: modules and busybox are in the first.
    archive = gzip.compress(_archive(system), compresslevel=1)
    (directory / "initrd.gz").write_bytes((guest / "initrd.gz").read_bytes() + archive)
    with (directory / "disk.raw").open("wb") as disk:
        disk.truncate(1 << 20)


def _archive(system: Path) -> bytes:
    """The files of a tar archive, and ``/init``, as the kernel wants them (cpio, format newc)."""
    written = io.BytesIO()
    with tarfile.open(system) as archive:
        entries = {entry.name.removeprefix("./"): entry for entry in archive}
        parents = {str(path) for name in entries for path in Path(name).parents} - {"."}
        for name in sorted(parents - entries.keys()):
            _write(written, name, stat.S_IFDIR | 0o755)
        for name, entry in sorted(entries.items()):
            file = archive.extractfile(entry) if entry.isfile() else None
            kind = stat.S_IFDIR if entry.isdir() else stat.S_IFREG
            _write(written, name, kind | entry.mode, file.read() if file else b"", entry.uid)
    _write(written, "init", stat.S_IFREG | 0o755, INIT.encode())
    _write(written, "TRAILER!!!", 0)
    return written.getvalue()


def _write(target: io.BytesIO, name: str, mode: int, content: bytes = b"", user: int = 0) -> None:
    fields = (target.tell(), mode, user, user, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    target.write(b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name.encode() + b"\0")
    for part in (b"", content):
        target.write(part)
        target.write(bytes(-target.tell() % _BLOCK))
