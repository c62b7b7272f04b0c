"""The pre-event ring and the cursors that read it."""
