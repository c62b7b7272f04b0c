"""Serves the vault to a dock, over TCP or a serial line, while recording goes on."""
