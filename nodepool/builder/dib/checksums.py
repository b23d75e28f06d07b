"""Checksum files of images (spec builder 3.6): what the tool has made is kept, what is missing is computed once."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from nodepool.builder.files import CHECKSUMS, replace_text

CHUNK = 1 << 20
_DIGITS = {"md5": 32, "sha256": 64}


def complete(path: Path) -> None:
    """Make ``PATH.md5`` and ``PATH.sha256`` as ``md5sum`` and ``sha256sum`` write them, with the bare file name.

    Reads the image only if one of them is missing or no checksum. Raises OSError.
    """
    known = {kind: _known(path, kind) for kind in CHECKSUMS}
    missing = [kind for kind, digest in known.items() if digest is None]
    for kind, digest in (known | _digests(path, missing)).items():
        replace_text(Path(f"{path}.{kind}"), f"{digest}  {path.name}\n")


def _known(path: Path, kind: str) -> str | None:
    try:
        text = Path(f"{path}.{kind}").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    match = re.match(rf"([0-9a-f]{{{_DIGITS[kind]}}})(\s|$)", text)
    return match[1] if match else None


def _digests(path: Path, kinds: list[str]) -> dict[str, str | None]:
    if not kinds:
        return {}
    states = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            for state in states.values():
                state.update(chunk)
    return {kind: state.hexdigest() for kind, state in states.items()}
