"""Jumps of the wall clock, seen against the monotonic one. No order of the dock's depends on either."""

__all__ = ["ClockWatch"]

_NS_PER_S = 1_000_000_000
_JUMP_NS = 30 * _NS_PER_S
"""Less than this is a correction by NTP, or a machine that was held up between the two readings."""


class ClockWatch:
    """Times as arguments; not thread-safe."""

    def __init__(self, utc_ns: int, monotonic_ns: int) -> None:
        self._offset_ns = utc_ns - monotonic_ns

    def look(self, utc_ns: int, monotonic_ns: int) -> str:
        """Return what to announce; empty if the clock went on as it should."""
        jump_ns = utc_ns - monotonic_ns - self._offset_ns
        self._offset_ns += jump_ns
        if abs(jump_ns) < _JUMP_NS:
            return ""
        way = "forward" if jump_ns > 0 else "back"
        return f"the dock's clock jumped {way} by {abs(jump_ns) // _NS_PER_S} s; cameras get their time from it"
