"""How a command says that it did not do what it was asked."""

from __future__ import annotations


class CommandFailed(Exception):
    """Not found, refused, or given up. The text is for operators: what, where, and what to do."""
