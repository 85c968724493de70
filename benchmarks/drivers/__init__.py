"""A program for each peer, which converts a network in the peer's own environment."""
