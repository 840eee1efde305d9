"""Reports: what evidence says of each delivery, as a file that can be checked without us (docs/design/evidence.md)."""
