"""Frame sources and microphones; each emits encoded frames."""
