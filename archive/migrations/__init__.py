"""Migrations of the archive's index."""
