"""What moves in recordings: static backgrounds, windows that follow what moves, and frames by time."""
