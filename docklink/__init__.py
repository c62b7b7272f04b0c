"""How camera and dock talk to each other."""
