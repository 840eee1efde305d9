"""Lossless changes of transfer syntax, on a copy (docs/design/delivery.md)."""
