"""The commands of `dicomrelay edits`."""
