"""What one request's story is made of; the order of things is in `governor.flow`."""
