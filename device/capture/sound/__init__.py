"""Microphones, drift correction, AAC and the gate in front of the ring: the sound side of capture."""
