"""What figures show, computed."""
