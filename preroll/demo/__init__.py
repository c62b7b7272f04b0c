"""The demo: the whole system on one machine, and the proof at its end."""
