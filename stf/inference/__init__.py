"""Exact inference of activity: the posterior over which fields act, and how fast, given the fields."""
