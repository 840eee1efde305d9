"""The commands below `dicomrelay jobs` (docs/design/operations.md)."""
