"""C-FIND as SCP: what a peer asks the archive (docs/design/query-retrieve-scp.md)."""
