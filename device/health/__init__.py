"""Battery, storage and clock: what the camera knows about itself."""
