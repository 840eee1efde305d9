"""Instances to one peer over associations, by its policies, and a verdict on each (docs/design/delivery.md)."""
