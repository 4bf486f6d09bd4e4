"""The stream of good and bad events, and the checker of the invariants behind it; kill9, planted and faults run
them."""
