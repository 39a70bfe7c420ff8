"""The drivers: what carries the story out, blocking or async."""
