"""What both ends of a virtual board's console keep to."""

__all__ = ["LONGEST_BYTES"]

LONGEST_BYTES = 1200
"""A longer message goes by a file: a console once sent more than 4096 unread bytes delivers no more."""
