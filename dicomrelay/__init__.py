"""dicomrelay: a store-and-forward router for medical images that never loses one, and can prove it."""

__version__ = "0.1.0"
