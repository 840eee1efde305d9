"""The commands of `dicomrelay mpps`."""
