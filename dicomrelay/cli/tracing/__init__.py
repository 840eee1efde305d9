"""Trace: what happened, where it is, what comes next, in words. No I/O."""
