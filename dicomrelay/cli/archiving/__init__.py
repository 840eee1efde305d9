"""`dicomrelay archive …`: one file a command, and what they share (docs/design/archive-command.md)."""
