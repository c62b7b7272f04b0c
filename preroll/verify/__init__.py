"""What `preroll clip verify` shows: the report, for people and for programs, and progress."""
