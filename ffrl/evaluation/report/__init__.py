"""The result of an evaluation as tables for a terminal."""
