"""Nodepool keeps a CI system supplied with fresh machines."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("nodepool")
except PackageNotFoundError:
    __version__ = "0.0.0"
