"""The commands of `dicomrelay pull`."""
