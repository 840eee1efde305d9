"""Instances to a DICOMweb origin server by STOW-RS (docs/design/stow-destinations.md)."""
