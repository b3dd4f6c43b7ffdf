"""MNIST: red digits on black that turn, grow and change their hue."""

from __future__ import annotations

from ffrl.data.catalogue import DataSet

NAMES = ("scaling", "rotation", "hue")
DATA_SET = DataSet("ffrl.data.digits.mnist:MnistSequences", (3, 28, 28), NAMES, 8, downloads=True)
