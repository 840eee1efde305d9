"""Renditions of stored instances: pictures, thumbnails, lossless transcodes; made once and kept (docs/design/renditions.md)."""
