"""Moves: what they mean, what they render, and what is refused."""

from __future__ import annotations

import pytest
import torch

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data import load
from ffrl.data.synthesis.activity_process import states
from ffrl.data.synthesis.moves import parse_moves
from ffrl.data.synthesis.states import moved, prescribable, renderable

NAMES = ("scaling", "rotation", "hue")
INDICES = torch.tensor([7, 3])


@pytest.mark.parametrize(
    ("text", "activity"),
    [
        ("hue 2", [[0, 0, 1], [0, 0, 1]]),
        ("hue", [[0, 0, 1]] * 3),
        ("rotation 1 at -0.5, still 1", [[0, -0.5, 0], [0, 0, 0]]),
        ("scaling+hue 1 at 2,rotation 2", [[2, 0, 2], [0, 1, 0], [0, 1, 0]]),
        (" scaling  +  rotation   at  1e-1 ", [[0.1, 0.1, 0]] * 3),
    ],
)
def test_moves_are_the_activity_they_describe(text: str, activity: list[list[float]]) -> None:
    assert torch.equal(parse_moves(text, NAMES, num_steps=3), torch.tensor(activity, dtype=torch.float32))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["''", "'rotation 4'"]),
        ("hue 2,", ["''"]),
        ("hue two", ["'hue two'"]),
        ("rotate 3", ["'rotate'", "did you mean 'rotation'?"]),
        ("hue 0", ["0 steps", "1 to 1000"]),
        ("hue 600, hue 401", ["401 steps", "1 to 1000"]),
        ("hue 3 at fast", ["'fast'", "a number"]),
        ("hue 3 at nan", ["'nan'"]),
        ("hue 3 at inf", ["'inf'"]),
        ("hue 3 at -1e38", ["'-1e38'", "1000"]),
    ],
)
def test_other_moves_are_one_line(text: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as error:
        parse_moves(text, NAMES, 8, "--from")
    assert str(error.value).startswith("--from: ") and all(part in str(error.value) for part in parts)


@pytest.mark.parametrize("protocol", ["ffrl", "sta"])
def test_moves_render_what_the_data_do(protocol: str) -> None:
    data = load(DataConfig(protocol=protocol))
    for row, name in enumerate(NAMES):
        batch = moved(data, "validation", INDICES, parse_moves(f"{name} 8", NAMES, 1))
        single = data.single("validation", INDICES, torch.full((2,), row))
        assert torch.equal(batch.frames, single.frames) and torch.equal(batch.activity, single.activity)


def test_a_start_goes_before_the_first_frame() -> None:
    data = load(DataConfig())
    activity = parse_moves("rotation 3, hue 2 at 1.5, scaling 2 at -0.5", NAMES, 1)
    whole = moved(data, "validation", INDICES, activity).frames
    start = states(activity[None])[0, 4]
    rest = moved(data, "validation", INDICES, activity[4:], start).frames
    assert torch.allclose(rest, whole[:, 4:], atol=1e-6) and rest.shape[1] == 4


def test_states_that_cannot_be_shown_are_refused() -> None:
    data = load(DataConfig())
    shrinking = parse_moves("scaling 9 at -1", NAMES, 1)

    def shown(activity: torch.Tensor, start: float = 0.0) -> bool:
        return renderable(data, "validation", INDICES, activity, torch.tensor([start, 0.0, 0.0]))

    assert shown(shrinking) and not shown(torch.cat([shrinking, shrinking[:1]]))
    assert shown(torch.cat([shrinking, shrinking]), start=10.0)
    assert not shown(shrinking, start=-1.0)
    with pytest.raises(UserError, match="^moves: found states that MNIST does not show, expected scale factors"):
        moved(data, "validation", INDICES, 2 * shrinking)


def test_other_data_are_not_moved() -> None:
    class Other:
        name = "other"

    assert not prescribable(Other()) and not renderable(Other(), "validation", INDICES, torch.ones(1, 3))
    with pytest.raises(UserError, match="^data.name: found 'other', expected data whose frames"):
        moved(Other(), "validation", INDICES, torch.ones(1, 3))
