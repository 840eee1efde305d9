"""What the relay tells by itself: what is worth it, in which words, and by which channels (docs/design/alerts.md)."""
