"""Effects (being written)."""
