"""Sequences of poses: points of animals that SLEAP or DeepLabCut has tracked, from memory and from files."""
