"""What looks wrong in data, said before anyone trains on them: one family of findings per file."""
