"""The firmware of the camera."""
