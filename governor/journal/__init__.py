"""The one source of truth after the fact: what is written into it."""
