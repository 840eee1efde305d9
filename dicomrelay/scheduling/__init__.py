"""Scheduled and performed procedure steps, in the ledger's database (docs/design/worklist.md, docs/design/mpps.md)."""
