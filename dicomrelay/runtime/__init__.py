"""What the processes stand on: the home, the broker, the queue, and the supervision of processes."""
