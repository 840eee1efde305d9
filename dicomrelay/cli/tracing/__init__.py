"""Trace: what modalities said, and where the bytes lie now."""
