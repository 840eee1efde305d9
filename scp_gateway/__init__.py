"""The listener: admission, negotiation, and C-STORE into the spool (docs/design/gateway.md).

Imports no SQL, no broker and no archive: the door stays open when they are down.
"""
