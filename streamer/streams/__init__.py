"""Scheduled streams: many frames on one connection, in the order in which the client wants them (docs/design/streams.md)."""
