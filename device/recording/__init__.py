"""The recorder: its state machine and the loop that carries frames from ring to clip."""
