"""Proof that a packed model answers as its reference does: check, bundles, timing."""
