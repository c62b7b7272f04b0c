"""The command line, and the demo that runs the whole system in one place."""
