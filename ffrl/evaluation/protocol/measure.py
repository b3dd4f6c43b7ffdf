"""What a measure is: what it needs, how it is computed from the sequences it sees, and how its result is shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from ffrl.data.base import SequenceBatch, SequenceData, Split
from ffrl.evaluation.protocol.kind import activity_of, likeliest
from ffrl.evaluation.protocol.needs import Need
from ffrl.evaluation.protocol.predicted import PredictedFrames, predicted_frames
from ffrl.models.interface import SequenceModel, SpeedPosterior, WithPosterior
from ffrl.tables.table import Column, Table

Results = Mapping[str, Any]
"""What :func:`ffrl.evaluation.evaluate.evaluate` returns: everything measured, by key, and what it was measured on."""


class Pass(Enum):
    """Sequences that are gone through once, for all measures that want to see them."""

    SINGLE = "every image under each transformation"
    IN_TURN = "every image under one transformation, the next image under the next one"
    MIXED = "every image or clip under sparse activity, or as it is"


@dataclass(frozen=True)
class Task:
    """What is measured, and on what.

    Args:
        model: on the device of ``data``, in evaluation mode.
        data: the sequences.
        split: which of its splits.
        seed: of everything random.
        indices: ``(N,)``, the images or clips.
        samples: S, draws of the latents per sequence.
        available: everything that measures can need and that is there.
    """

    model: SequenceModel
    data: SequenceData
    split: Split
    seed: int
    indices: Tensor
    samples: int = 1
    available: frozenset[Need] = field(default_factory=frozenset)


class Seen:
    """A batch of sequences, and what all measures that see it share: each is computed once, for the first that asks.

    Args:
        task: what is measured.
        batch: frames ``(B, T+1, C, H, W)`` and true speeds ``(B, T, J)``.
        number: of the batch within its pass.
        which: the transformation that acts in all of them, None if they differ.
    """

    def __init__(self, task: Task, batch: SequenceBatch, number: int, which: int | None = None) -> None:
        self.task, self.batch, self.number, self.which = task, batch, number, which
        self.model, self.frames, self.truth = task.model, batch.frames, batch.activity

    @cached_property
    def posterior(self) -> SpeedPosterior:
        """The posterior over activity, of a model that says how sure it is of it, ``(B, T, C)``."""
        return cast(WithPosterior, self.model).activity(self.frames)

    @cached_property
    def activity(self) -> Tensor:
        """The activity that moves latents, given or inferred, ``(B, T, C)``."""
        shared = Need.POSTERIOR in self.task.available
        return likeliest(self.posterior) if shared else activity_of(self.model, self.batch)

    @cached_property
    def predicted(self) -> PredictedFrames:
        """The frames that the activity leads to, and those without a flow."""
        return predicted_frames(self.model, self.frames, self.activity)


ERRORS = "Equivariance error and likelihood"
FIELDS = "Which field is which transformation"
PREDICTIONS = "Other predictions"
CODES = "What codes tell of factors"
TABLES = (ERRORS, FIELDS, PREDICTIONS, CODES)
"""Tables of a benchmark, in their order; those of other titles follow."""


@dataclass(frozen=True)
class Metric:
    """A number of an evaluation that models are compared by: a column of a benchmark.

    Args:
        table: title of the table that it stands in.
        key: of the number, see :meth:`Measure.numbers`.
        column: title, which numbers are better, unit and decimals.
        about: sentences under the table that say what the number is.
        alike: key of a text in which models have to agree for their numbers to be compared.
    """

    table: str
    key: str
    column: Column
    about: str = ""
    alike: str = ""


class Measure(ABC):
    """Something that is measured about a model, from the sequences it sees or on its own, and how that is shown.

    An instance measures once; what shows a result needs nothing but the result. A module of
    :mod:`ffrl.evaluation.measures` that defines ``MEASURE``, or an object that an installed package names by an entry
    point of the group ``stf.measures``, is measured by every evaluation that has what it needs, and is in its JSON, its
    report on the terminal and in HTML, and in benchmarks.

    Attributes:
        keys: of the entries that it adds to the results.
        needs: what it cannot do without.
        sees: the sequences that :meth:`see` is called with.
        place: of its tables among those of others, low numbers first.
        finds: whether it tells which field does what, with which the report begins.
        units: of its numbers, by name.

    Example:
        >>> class Brightness(Measure):
        ...     keys, sees = ("brightness",), Pass.MIXED
        ...     def see(self, seen):
        ...         self.keep({"mean": seen.predicted.flow.mean((1, 2, 3, 4))})
        ...     def result(self, found):
        ...         return {"brightness": self.kept("mean").mean().item()}
        >>> Brightness.summary({"brightness": 0.5}) is None
        True
    """

    keys: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[frozenset[Need]] = frozenset()
    sees: Pass | None = None
    place: ClassVar[int] = 1000
    finds: ClassVar[bool] = False
    units: ClassVar[Mapping[str, str]] = {}

    def __init__(self, task: Task) -> None:
        self.task = task
        self._kept: dict[Any, list[Tensor]] = defaultdict(list)

    def keep(self, values: Mapping[Any, Tensor]) -> None:
        """Keep numbers of every sequence of a batch, ``(B, ...)`` each, by any name."""
        for name, value in values.items():
            self._kept[name].append(value)

    def kept(self, name: Any) -> Tensor:
        """Return what was kept under a name, of all batches: ``(N, ...)``."""
        return torch.cat(self._kept[name])

    def see(self, seen: Seen) -> None:
        """Measure a batch of the sequences of :attr:`sees`: here nothing."""
        return None

    def work(self) -> int:
        """How many ticks :meth:`run` takes."""
        return 0

    def run(self, tick: Callable[[], None]) -> None:
        """Measure on other sequences than those of a pass, and call ``tick`` :meth:`work` times on the way."""
        return None

    @abstractmethod
    def result(self, found: Results) -> dict[str, Any]:
        """Return an entry for each of :attr:`keys`: nested dicts and lists of plain numbers, texts and None.

        Args:
            found: the entries of the measures whose place is before this one's.
        """

    @classmethod
    def tables(cls, results: Results) -> list[Table]:
        """Return the tables that show the result."""
        return []

    @classmethod
    def summary(cls, results: Results) -> str | None:
        """Return the result in one line, None if that says nothing."""
        return None

    @classmethod
    def criteria(cls, results: Results) -> list[dict[str, Any]]:
        """Return what is asked of the result, one dict per criterion.

        ``name``, ``worst`` (None if it is undefined), ``at_least``, ``at_most`` or ``exactly``, and ``reached``.
        """
        return []

    @classmethod
    def numbers(cls, results: Results) -> dict[str, Any]:
        """Return what a benchmark keeps, by key: numbers, ``{"mean", "standard_error"}`` or texts."""
        return {}

    @classmethod
    def metrics(cls, numbers: Mapping[str, Any]) -> Sequence[Metric]:
        """Return the columns of a benchmark, given all :meth:`numbers` that there are."""
        return ()
