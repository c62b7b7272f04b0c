"""The agent of the dock."""
