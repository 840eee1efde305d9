"""Two minimal programs: how fast plain Python can move instances when it checks nothing. Measuring sticks, not models."""
