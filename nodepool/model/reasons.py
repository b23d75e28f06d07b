"""Why something waits, was refused or failed: the same words in logs, tables, metrics and pages."""

from __future__ import annotations

from enum import Enum


class WaitReason(Enum):
    """Why a pool leaves a request alone for now."""

    AT_POOL_LIMIT = "the pool is at its limit"
    AT_PROVIDER_QUOTA = "the provider's quota is used up"
    RESERVED = "the free capacity is reserved for an older request"
    TENANT_LIMIT = "the tenant is at its limit"
    MAX_CONCURRENCY = "the provider has as many launches under way as it may have"
    NO_FREE_HOST = "no registered host with the label is free"
    OTHER_PROVIDER = "the request prefers another provider that can still serve it"
    BETTER_PRIORITY = "a pool of better priority can serve it"
    OTHER_POOL = "another pool has all labels"
    OTHER_LAUNCHER = "another launcher goes first"
    DECLINED_HERE = "our pools have declined it, others may serve it"
    REQUEST_LOCKED = "somebody holds the request's lock"
    CHECKING_HOST = "a registered host is looked at before it is handed out"
    CLOUD_REFUSES = "the cloud refused for lack of quota a moment ago"
    NO_CAPACITY = "the cloud had no machine of this kind a moment ago"
    LIMITS_UNKNOWN = "the provider has not answered yet"
    CLOUD_AWAY = "the provider does not answer"
    DRAINED = "it is drained by command"


class DeclineReason(Enum):
    """Why a pool will never serve a request."""

    POOL_DISABLED = "the pool is switched off by max-servers"
    LABEL_UNKNOWN = "the pool does not have the label"
    LABEL_DISABLED = "the label is switched off by min-ready"
    LABEL_BROKEN = "the label does not work as it is configured"
    IMAGE_MISSING = "the provider has no ready image for the label"
    OVER_QUOTA = "the request is larger than the pool or its provider can ever be"
    AT_CAPACITY = "there is no room for stock"
    LAUNCH_FAILED = "a node could not be launched"


class LaunchFailure(Enum):
    """Why a launch attempt failed; the value is the word that the metrics use (spec operation 7)."""

    QUOTA = "error.quota"
    CAPACITY = "error.capacity"
    STATUS = "error.status"
    KEYSCAN = "error.keyscan"
    CHECK = "error.readycheck"
    ADDRESS = "error.ipadd"
    TIMEOUT = "error.servercreatetimeout"
    IMAGE = "error.nodepool"
    BAD_LABEL = "error.label"
    VANISHED = "error.vanished"
    AWAY = "error.away"
    STUCK = "error.serverdeletetimeout"
    UNKNOWN = "error.unknown"

    @property
    def sentence(self) -> str:
        """The failure in words."""
        return _FAILURES[self]


_FAILURES = {
    LaunchFailure.QUOTA: "the cloud's quota has no room",
    LaunchFailure.CAPACITY: "the cloud has no capacity for this kind of machine",
    LaunchFailure.STATUS: "the server ended in an error state",
    LaunchFailure.KEYSCAN: "the machine did not answer on its connection port",
    LaunchFailure.CHECK: "the machine did not pass its ready-check",
    LaunchFailure.ADDRESS: "the server got an address that is in use",
    LaunchFailure.TIMEOUT: "the machine was not up within launch-timeout",
    LaunchFailure.IMAGE: "there is no ready image",
    LaunchFailure.BAD_LABEL: "the label cannot work as it is configured",
    LaunchFailure.VANISHED: "the server disappeared",
    LaunchFailure.AWAY: "the provider does not answer",
    LaunchFailure.STUCK: "the server of a failed attempt does not go",
    LaunchFailure.UNKNOWN: "the cloud failed",
}


class DeleteReason(Enum):
    """Why a node is removed."""

    USED = "it was used"
    ABANDONED = "its lock is gone while it was in use"
    ORPHANED = "nobody builds it any more"
    FAILED = "it could not be launched"
    ABORTED = "the cloud had no room for it"
    AWAY = "its provider does not answer"
    NOT_WANTED = "its request is gone"
    LOST = "its machine has died: the provider does not list it any more, or only in error"
    TOO_OLD = "it was ready for longer than max-ready-age"
    REPLACED = "a newer failed node of its label is held"
    HELD_TOO_LONG = "it was held for as long as it may be"
    MAKE_ROOM = "a waiting request needs its room"
    UNFINISHED = "its deletion was asked for, or not finished"
    DEREGISTERED = "its host is no longer registered"
    DRAINED = "its provider is drained by command"
    BY_HAND = "somebody asked for it"
