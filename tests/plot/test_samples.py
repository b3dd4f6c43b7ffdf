"""The figure of a data set shows its sequences and their true activity."""

from __future__ import annotations

import numpy as np
import torch
from engine_tiny import STEPS
from visualize_tools import TRANSFORMATIONS, SparseData, as_drawn, axes_of, part, picture, pictures, sticks_out, texts

from ffrl.config import DataConfig
from ffrl.data import load
from ffrl.data.base import SequenceBatch
from stf.plot.samples import draw_samples, sample


def test_samples_show_frames_and_true_activity() -> None:
    mixed, single = sample(SparseData(), "validation", seed=3)
    units = {"scaling": "+ 0.1", "hue": "20 degrees"}
    figure = draw_samples(mixed, single, TRANSFORMATIONS, units, "tiny data")
    expected = {f"sequence-{n}/{t}": mixed.frames[n, t] for n in range(6) for t in range(STEPS + 1)}
    expected |= {f"single-{j}/{t}": single.frames[j, t] for j in range(3) for t in range(STEPS + 1)}
    assert pictures(figure) == set(expected)
    for gid, frame in expected.items():
        assert np.array_equal(picture(figure, gid), as_drawn(frame)), gid
    for j in range(3):
        lanes = axes_of(figure, f"row-{j}")
        drawn = np.stack([part(axes, "truth").get_data().values for axes in lanes])
        assert np.array_equal(drawn, mixed.activity[..., j])
    assert (mixed.activity != 0).any() and (mixed.activity == 0).any()
    assert "one step: 20 degrees" in texts(figure) and "tiny data" in texts(figure)
    assert not sticks_out(figure)


def test_samples_are_one_image_under_each_transformation_and_depend_on_the_seed_alone() -> None:
    data = SparseData()
    mixed, single = sample(data, "validation", seed=1)
    assert torch.equal(single.activity[:, 0], torch.eye(3)) and torch.equal(single.frames[0, 0], single.frames[2, 0])
    again, other = sample(data, "validation", seed=1)[0], sample(data, "validation", seed=2)[0]
    assert torch.equal(mixed.frames, again.frames) and not torch.equal(mixed.frames, other.frames)


def test_long_sequences_fit() -> None:
    data = load(DataConfig(num_steps=40))
    mixed, single = sample(data, "train")
    figure = draw_samples(SequenceBatch(*(part[:2] for part in mixed)), single, data.transformations, {}, "long")
    assert not sticks_out(figure)
    shown = {int(gid.split("/")[1]) for gid in pictures(figure) if gid.startswith("sequence-1/")}
    assert 0 in shown and 10 < len(shown) < 15
