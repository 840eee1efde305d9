"""Programs that break the system on purpose and count what is lost."""
