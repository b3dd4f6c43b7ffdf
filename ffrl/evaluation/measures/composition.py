"""Composition and switching: do two fields do together, or in turn, what their transformations do?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, permutations
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ffrl.data.base import SequenceData, Split
from ffrl.evaluation.measures.equivariance import frame_errors, l1_error, summarise
from ffrl.evaluation.protocol.kind import activity_of
from ffrl.evaluation.protocol.measure import PREDICTIONS, Measure, Metric, Results
from ffrl.evaluation.protocol.needs import Need
from ffrl.evaluation.protocol.prescribed import moving, not_shown, prescribed, shown, why_not
from ffrl.evaluation.protocol.sequences import batch_size, single_batches
from ffrl.evaluation.protocol.statistics import inside
from ffrl.models.interface import SequenceModel
from ffrl.tables.table import Column, Row, Table, estimated

ALL_ORDERS = 3
"""Up to so many transformations every ordered pair is switched; of more, each to the next one."""
MOST_IMAGES, MOST_SEQUENCES = 250, 3000
"""How much is moved along prescribed paths at most, of which there are many."""
MOST_ROWS = 6
"""Pairs that always have a row each; of more, their mean and the worst do."""
KINDS = {"flow": "flow", "additive": "added", "reconstruction": "reconstruction", "copy": "no flow"}
"""What the kinds of prediction are called."""


class Pair(NamedTuple):
    """Two transformations that act at once or in turn: their names, numbers, and true activity ``(T, J)``."""

    name: str
    first: int
    second: int
    activity: Tensor


def together(data: SequenceData) -> list[Pair]:
    """Every two transformations, both at unit speed throughout.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> [pair.name for pair in together(load(DataConfig()))]
        ['scaling + rotation', 'scaling + hue', 'rotation + hue']
    """
    names = data.transformations
    return [Pair(f"{names[i]} + {names[j]}", i, j, moving(data, i, j)) for i, j in combinations(range(len(names)), 2)]


def in_turn(data: SequenceData) -> list[Pair]:
    """One transformation for half of the T steps, rounded down, then another: see :data:`ALL_ORDERS`.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> [pair.name for pair in in_turn(load(DataConfig()))][:3]
        ['scaling then rotation', 'scaling then hue', 'rotation then scaling']
    """
    names, half = data.transformations, data.num_steps // 2
    count = len(names)
    orders = permutations(range(count), 2) if count <= ALL_ORDERS else [(i, (i + 1) % count) for i in range(count)]
    return [
        Pair(f"{names[i]} then {names[j]}", i, j, switched(moving(data, i)[None], moving(data, j)[None], half)[0])
        for i, j in orders
    ]


def affordable(data: SequenceData) -> int:
    """How many images to move along all prescribed paths: alone (for extrapolation), together and in turn.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> [affordable(load(DataConfig(name=name, num_steps=7))) for name in ("mnist", "shapes3d")]
        [250, 150]
    """
    paths = len(data.transformations) + len(together(data)) + len(in_turn(data))
    return min(MOST_IMAGES, max(1, MOST_SEQUENCES // paths))


def switched(g: Tensor, other: Tensor, half: int) -> Tensor:
    """The first ``half`` steps of one activity, and from there on those of another, ``(B, T, C)`` each."""
    return torch.cat([g[:, :half], other[:, half:]], dim=1)


def composition(
    model: SequenceModel, data: SequenceData, split: Split, indices: Tensor, tick: Callable[[], None]
) -> dict[str, dict[str, Any]]:
    r"""Errors of two transformations at once (``composition``) and one after the other (``switching``).

    The true frames show both, or one for half of the steps and then the other, at unit speed. The model moves the
    latent of their first frame by activities g and g' of single-transformation sequences of the same images, given or
    inferred from these: by compose(g, g'), which is g + g' for fields, or by g for half of the steps and then g'.

    Args:
        model: on the device of ``data``.
        data: data with at least two transformations, whose frames are made from states.
        split: which of its splits.
        indices: ``(N,)``, the images.
        tick: called once per batch of images.

    Returns:
        For both: ``sequences``, ``activity`` (given or inferred), ``pairs``: by name and kind of prediction what
        :func:`ffrl.evaluation.measures.equivariance.summarise` says, None where the data cannot show the pair,
        ``mean``: the same of the mean over the pairs, and ``not_shown``: why, by pair. The kinds are those of
        :class:`ffrl.evaluation.measures.equivariance.FrameErrors`; composition has ``additive`` besides, the error of
        :math:`decode(z_0 + (z_t - z_0) + (z'_t - z_0))`, both fields on their own and their displacements added.
        ``switching`` has ``half``, the steps before the switch, and is left out if T = 1.

    Example:
        >>> from ffrl.config import DataConfig, SupervisedConfig
        >>> from ffrl.data import load
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28)).requires_grad_(False)
        >>> found = composition(model, load(DataConfig()), "validation", torch.arange(2), lambda: None)
        >>> sorted(found), len(found["switching"]["pairs"])
        (['composition', 'switching'], 6)
    """
    half = data.num_steps // 2
    at_once = _Errors(data, split, indices, together(data))
    one_by_one = _Errors(data, split, indices, in_turn(data) if half else [])
    for part in indices.split(batch_size(data)):
        g = [_single(model, data, split, part, which) for which in range(len(data.transformations))]
        for pair in at_once.shown:
            frames = prescribed(data, split, part, pair.activity).frames
            at_once.add(pair, _composed(model, frames, g[pair.first], g[pair.second]))
        for pair in one_by_one.shown:
            frames = prescribed(data, split, part, pair.activity).frames
            errors = frame_errors(model, frames, switched(g[pair.first], g[pair.second], half))
            one_by_one.add(pair, errors._asdict())
        tick()
    common = {"sequences": len(indices), "activity": "given" if model.activity_kind.given else "inferred"}
    result = {"composition": common | at_once.summary()}
    return result | {"switching": common | {"half": half} | one_by_one.summary()} if half else result


def _single(model: SequenceModel, data: SequenceData, split: Split, part: Tensor, which: int) -> Tensor:
    """Activity (B, T, C) of a batch of single-transformation sequences."""
    (batch,) = single_batches(data, split, part, torch.full_like(part, which))
    return activity_of(model, batch)


def _composed(model: SequenceModel, frames: Tensor, g: Tensor, other: Tensor) -> dict[str, Tensor]:
    """Errors (B, T+1) by kind."""
    errors = frame_errors(model, frames, model.compose(g, other))
    start = model.encode(frames[:, 0])
    apart = model.flow(start, g) + model.flow(start, other) - start.unsqueeze(1)
    return errors._asdict() | {"additive": l1_error(model.decode(apart), frames, model.frame_kind)}


class _Errors:
    """Errors of pairs, collected batch by batch."""

    def __init__(self, data: SequenceData, split: Split, indices: Tensor, pairs: Sequence[Pair]) -> None:
        self.data, self.pairs = data, pairs
        self.shown = [pair for pair in pairs if shown(data, split, indices, pair.activity)]
        self._found: dict[str, dict[str, list[Tensor]]] = {pair.name: {} for pair in self.shown}

    def add(self, pair: Pair, errors: dict[str, Tensor]) -> None:
        for kind, values in errors.items():
            self._found[pair.name].setdefault(kind, []).append(values)

    def summary(self) -> dict[str, Any]:
        every = {name: {kind: torch.cat(parts) for kind, parts in kinds.items()} for name, kinds in self._found.items()}
        described = {name: {kind: summarise(one) for kind, one in kinds.items()} for name, kinds in every.items()}
        kinds = next(iter(every.values()), {})
        mean = {kind: summarise(torch.stack([one[kind] for one in every.values()]).mean(0)) for kind in kinds}
        missing = [pair.name for pair in self.pairs if pair.name not in described]
        return {
            "pairs": {pair.name: described.get(pair.name) for pair in self.pairs},
            "mean": mean or None,
            "not_shown": dict.fromkeys(missing, why_not(self.data)),
        }


class Composition(Measure):
    """Errors of two transformations at once and one after the other, see :func:`composition`."""

    keys, needs, place = ("composition", "switching"), frozenset({Need.STATES, Need.PAIRS}), 30
    units = {"composition": "as equivariance, also switching"}

    def work(self) -> int:
        return len(self._few().split(batch_size(self.task.data)))

    def run(self, tick: Callable[[], None]) -> None:
        self.found = composition(self.task.model, self.task.data, self.task.split, self._few(), tick)

    def result(self, found: Results) -> dict[str, Any]:
        return self.found

    def _few(self) -> Tensor:
        return self.task.indices[: affordable(self.task.data)]

    @classmethod
    def tables(cls, results: Results) -> list[Table]:
        titles = {"composition": "Two transformations at once", "switching": "One transformation, then another"}
        return [_table(key, f"{title}, L1 per frame", results[key]) for key, title in titles.items() if key in results]

    @classmethod
    def numbers(cls, results: Results) -> dict[str, Any]:
        found = {key: inside(results, key, "mean", "flow", "mean_per_frame") for key in cls.keys}
        return {key: error for key, error in found.items() if error is not None}

    @classmethod
    def metrics(cls, numbers: Mapping[str, Any]) -> list[Metric]:
        about = (
            "At once, in turn: pairs of transformations, on up to 250 of the images, fewer of more than three "
            "transformations."
        )
        titles = {"composition": "at once", "switching": "in turn"}
        return [Metric(PREDICTIONS, key, Column(title, "low", digits=1), about) for key, title in titles.items()]


MEASURE = Composition


def _table(key: str, title: str, found: Mapping[str, Any]) -> Table:
    pairs = {name: entry for name, entry in found["pairs"].items() if entry is not None}
    missing = not_shown(found["not_shown"])
    if not pairs:
        return Table(key, f"{title}: none can be shown", "", notes=missing)
    many = len(found["pairs"]) > MOST_ROWS
    worst = max(pairs, key=lambda name: pairs[name]["flow"]["full_sum"]["mean"] or 0.0)
    kinds = {kind: name for kind, name in KINDS.items() if kind in found["mean"]}

    def row(name: str, entry: Mapping[str, Any] | None, detail: bool = False) -> Row:
        return Row(
            name, [None if entry is None else estimated(entry[kind]["mean_per_frame"]) for kind in kinds], detail=detail
        )

    rows = [row(f"mean of {len(pairs)}", found["mean"])] if len(pairs) > 1 else []
    rows += [row(f"worst: {worst}", pairs[worst])] if many else []
    rows += [row(name, entry, many) for name, entry in found["pairs"].items()]
    half = f"; switched after {found['half']} steps" if "half" in found else ""
    notes = [f"{found['sequences']} images; activity {found['activity']}, of each transformation on its own{half}."]
    if "additive" in kinds:
        notes.append("Added: z_0 and the displacements that each of the two has on its own.")
    columns = [Column(name, "low" if kind == "flow" else "") for kind, name in kinds.items()]
    return Table(key, title, "transformations", columns, rows, [*notes, *missing])
