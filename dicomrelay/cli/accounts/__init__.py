"""The commands below `dicomrelay users`."""
