"""The firmware of the camera."""

__version__ = "0.1.0"
