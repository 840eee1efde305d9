"""The commands below `dicomrelay alerts`."""
