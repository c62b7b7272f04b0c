"""Taking a clip out of the system: footage with its report, and the same clip for another agency."""
