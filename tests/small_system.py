"""The smallest system that one can log in to, made of programs of this host: an image for containers."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

PROGRAMS = (
    "sh",
    "bash",
    "cat",
    "dd",
    "env",
    "hostname",
    "id",
    "ip",
    "ls",
    "mkdir",
    "mount",
    "ps",
    "rm",
    "setpriv",
    "sleep",
    "tar",
    "touch",
    "umount",
)
_SSHD = ("sshd", "sftp-server")
_SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/openssh"
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\n"
    "zuul:x:1000:1000::/home/zuul:/bin/sh\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\nzuul:x:1000:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/ssh/sshd_config": "PasswordAuthentication no\nPermitRootLogin prohibit-password\n",
}


def write(path: Path, marker: str = "first", *, sshd: bool = True) -> Path:
    """Write the archive, with ``marker`` in ``/etc/marker``; returns the path."""
    names = [*PROGRAMS, *(_SSHD if sshd else ())]
    programs = [Path(found) for name in names if (found := shutil.which(name, path=_SEARCHED))]
    with tarfile.open(path, "w", dereference=True) as archive:
        for directory in ("etc", "home", "home/zuul", "root", "usr/sbin", "bin", "lib", "lib64", "tmp", "mnt"):
            entry = tarfile.TarInfo(f"./{directory}")
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            entry.uid = entry.gid = 1000 if directory == "home/zuul" else 0
            archive.addfile(entry)
        for name, text in {**_FILES, "etc/marker": f"{marker}\n"}.items():
            content = text.encode()
            entry = tarfile.TarInfo(f"./{name}")
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
        for source, target in sorted(_placed(programs).items()):
            archive.add(source, f".{target}", filter=_plain)
    return path


def _placed(programs: list[Path]) -> dict[str, str]:
    """Programs where they are expected, and the libraries that they need."""
    placed = {}
    for program in programs:
        placed[str(program.resolve())] = (
            f"/usr/sbin/{program.name}" if program.name == "sshd" else f"/bin/{program.name}"
        )
        placed |= {library: library for library in _libraries(program)}
    return placed


def _libraries(program: Path) -> list[str]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(?:=> )?(/\S+) \(0x", said)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    return entry
