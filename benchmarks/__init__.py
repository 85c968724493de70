"""The comparison with peers: `make peers`, whose result is docs/peers.json and docs/peers.md.

Begin with `__main__`. What is in `drivers` runs in the environments of the peers, and imports
nothing of ours.
"""
