"""Networks that start from the identity, read layer by layer."""
