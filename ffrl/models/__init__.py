"""Models of image sequences."""
