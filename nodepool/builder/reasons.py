"""Why the builder does something: each with a sentence for operators. Pure."""

from __future__ import annotations

from enum import Enum


class BuildReason(Enum):
    """Why an image is built (spec builder 3.1)."""

    BY_HAND = "an operator asked for it"
    MISSING = "there is no good build"
    FORMATS = "no build has all formats that are wanted"
    TOO_OLD = "the newest build has reached its rebuild age"
    FILES_GONE = "a provider lacks the image, and the files of the newest build are gone, or their builder is"


class UploadReason(Enum):
    """Why a build is uploaded to a provider (spec builder 4.1)."""

    MISSING = "the provider has no image of this kind"
    NEWER = "the build is newer than what the provider has"
    AGAIN = "an earlier upload failed or was deleted"


class RemovalReason(Enum):
    """Why something is removed (spec builder 5)."""

    ORPHANED = "whoever worked on it is gone"
    FAILED = "it failed"
    SURPLUS = "newer ones have taken its place"
    NOT_WANTED = "the image is not in the configuration any more"
    NOT_LISTED = "the provider does not list the image any more"
    BUILD_GOES = "its build is being removed"
    NO_RECORD = "there is no record of it"
    UPLOADED = "all providers that need the file have the image"
