"""The base of all errors of `device`."""

from evidence.errors import ExplainedError

__all__ = ["DeviceError"]


class DeviceError(ExplainedError):
    """Something on the camera is not as it must be: a source, a line, the storage, the configuration."""
