"""The commands below `dicomrelay audit`."""
