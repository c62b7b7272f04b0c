"""How a dock is shown."""
