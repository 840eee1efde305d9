"""`dicomrelay worklist`, one file a command."""
