"""The clips held on the camera: numbers, creating, sealing, listing, space left; the event log."""
