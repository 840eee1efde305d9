"""Spool, ledger and archive held against each other, and mended (docs/design/integrity.md)."""

from workers.integrity.findings import Finding, Severity
from workers.integrity.invariants import Invariant

__all__ = ["Finding", "Invariant", "Severity"]
