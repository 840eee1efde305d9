"""The queues of a relay as figures: what a site does in a day, by the measured cost of each stage (docs/design/scale.md)."""
