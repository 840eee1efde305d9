"""What `dicomrelay receive` is made of (docs/design/sender-and-receiver.md)."""
