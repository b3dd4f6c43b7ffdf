"""Sequences of Shapes3D, rendered or from its file."""
