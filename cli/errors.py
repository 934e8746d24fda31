"""What a command tells of and ends with."""

from __future__ import annotations


class CommandError(Exception):
    """What kept a command from its work; the message names it and the way out."""
