"""The audit: is an archive as it was written, and what does it say of whom."""
