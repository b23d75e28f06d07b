"""What can go wrong between us and a cloud, as types: errors are half of the contract.

An adapter raises nothing else. Whoever decides what to do next looks at the type, never at the text.
"""

from __future__ import annotations


class CloudError(Exception):
    """The cloud refused a call or failed at it; nothing was made. Trying again may help."""


class NotBegun(CloudError):
    """The call was not even begun: nobody wants it any more, or the provider does not answer. It costs nothing."""


class Rejected(CloudError):
    """The cloud works and refuses this very call, whatever the reason."""


class QuotaExceeded(CloudError):
    """The cloud's quota has no room for it now. Not a failure of the launch (spec launcher 3.2)."""


class NoCapacity(CloudError):
    """The cloud has no machine of this kind here and now, whatever the quota says."""


class RateLimited(CloudError):
    """The cloud asks for fewer calls; ``retry_after`` is in seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BadLabel(CloudError):
    """The label can never work as it is configured: unknown flavor, image, network or zone."""


class Misconfigured(CloudError):
    """What the configuration says of the provider cannot be used; no call will work before somebody changes it."""


class Unauthorized(Misconfigured):
    """The credentials are not accepted."""


class NotFound(CloudError):
    """The thing does not exist (any more)."""


class UnknownOutcome(CloudError):
    """The call may or may not have worked: time-out, broken connection, 5xx. Look for the tag before trying again."""
