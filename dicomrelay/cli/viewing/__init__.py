"""The commands of `dicomrelay viewer`."""
