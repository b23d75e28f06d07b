"""The shell scripts that make a container: each ends by becoming the next, so that all of them are one process.

They run with the container's directory as the working directory and get what they need as variables. Standard input is
the container's own files, a tar archive. Standard output is a socket: on it each tells how far it is, and is told that
the ids were assigned. Standard error is the container's console.
"""

from __future__ import annotations

from nodepool.driver.local.container_process import WRITE_NOTE

MARK = "nodepool-container"
"""Word of the command line of a container's outer process; its directory is the next one."""

AS_ROOT = f"""set -eu
{WRITE_NOTE}
exec unshare --mount sh -c "$SECOND"
"""

BIND_AND_DROP = """set -eu
mount --bind "$TREE" lower
exec env TREE= setpriv --reuid="$OWNER" --regid="$OWNER_GROUP" --clear-groups unshare --user sh -c "$NAMESPACES"
"""
"""The image's tree is bound before root goes, since nobody else may search the directories above it."""

AS_USER = f"""set -eu
{WRITE_NOTE}
exec unshare --user sh -c "$NAMESPACES"
"""

NAMESPACES = f"""set -eu
echo $$
read -r assigned <&1
exec unshare --mount --pid --fork --kill-child --net --uts --ipc sh -c "$INSIDE" {MARK} "$DIRECTORY"
"""

ON_OVERLAY = """[ -z "$TREE" ] || mount --bind "$TREE" lower
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr root"""
"""Mounts what a machine sees, in its directory; without ``$TREE``, that is bound already."""

INSIDE = f"""set -eu
{ON_OVERLAY}
cd -P root
tar -x -f -
mkdir -p dev proc sys run tmp
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o nosuid,nodev,noexec,ro sysfs sys || true
mount -t tmpfs -o mode=0755 tmpfs dev
for name in null zero full random urandom tty; do
    : >"dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=0755 tmpfs run
mkdir run/sshd run/lock
hostname "$NAME"
ip link set lo up
[ -x usr/sbin/sshd ] || {{ echo "the image has no /usr/sbin/sshd" >&2; exit 1; }}
pivot_root . .
umount -l .
echo ready
set -- /usr/sbin/sshd -D -e -h /etc/ssh/ssh_host_ed25519_key
[ -z "$WITHOUT" ] || set -- setpriv --bounding-set="$WITHOUT" "$@"
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@" </dev/null >&2
"""

NETWORK = f"""set -eu
{WRITE_NOTE}
exec "$@"
"""
"""Becomes the program that is the container's network."""

COMMAND = """set -eu
exec unshare --user sh -c 'echo $$; read -r assigned <&1; exec sh -c "$INSIDE"'
"""
"""Runs ``$INSIDE`` with the ids of a container and nothing else of one."""
