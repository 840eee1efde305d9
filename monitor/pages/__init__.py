"""Our pages: what each shows, as values (rows), and what answers requests for it."""
