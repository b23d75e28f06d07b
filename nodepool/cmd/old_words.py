"""Commands of Nodepool before version 1, which have other names now or are not needed (spec cli 9). Pure."""

from __future__ import annotations

_BUILD = "use 'nodepool image-build IMAGE', uploads to all providers follow by themselves"
_JOBS = "Nodepool knows of no jobs any more; 'keep-failed' of a label keeps failed machines"

OLD_WORDS = {
    "image-update": _BUILD,
    "dib-image-update": _BUILD,
    "image-upload": "uploads are made by themselves, and one that 'nodepool image-delete' has removed is made anew",
    "job-list": _JOBS,
    "job-create": _JOBS,
    "job-delete": _JOBS,
}
"""The word, and what to do today."""
