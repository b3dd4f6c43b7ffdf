"""Scenes in the manner of Isaac3D and Falcor3D, drawn by MuJoCo: rendered once, and kept."""
