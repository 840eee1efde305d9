"""STOW-RS: instances over HTTP into the spool (docs/design/stow.md)."""
