"""The demo: the camera on one machine, and the proof at its end."""
