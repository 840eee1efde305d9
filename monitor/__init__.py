"""Flower, configured safe: loopback or a password, read-only without one."""
