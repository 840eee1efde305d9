"""Scheduled and performed procedure steps: the worklist and MPPS, kept in the database of the ledger (docs/design/worklist.md, docs/design/mpps.md)."""
