"""One cell of a grid: a model, a data set and a seed, with the commands that train and measure it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ffrl.core.terminal import as_argument
from stf.benchmark.suites import Data, Model, Suite

TRIAL_STEPS = 80
"""Steps of the timed trial that a budget in seconds is turned into steps with."""
LEAST_STEPS = 8


@dataclass(frozen=True)
class Settings:
    """What all cells of a benchmark share.

    Attributes:
        steps: optimisation steps of every cell; None while they follow from ``budget``.
        budget: seconds of training per cell, or None.
        sequences: how many sequences are measured.
        root: ``--data.root``, or None.
        device: ``auto``, ``cpu`` or ``cuda``.
        codes: whether latent codes are measured where the suite wants it, which needs scikit-learn.
    """

    steps: int | None
    budget: float | None
    sequences: int
    root: Path | None = None
    device: str = "auto"
    codes: bool = True


@dataclass(frozen=True)
class Cell:
    """A model, a data set and a seed of a suite.

    Attributes:
        suite: the suite.
        model: the row.
        data: the data set.
        seed: of training.
        settings: what all cells share; its ``steps`` may be those that follow from the budget.
        out: folder of the benchmark.

    Example:
        >>> from stf.benchmark.suites import SUITES
        >>> smoke = SUITES["smoke"]
        >>> cell = Cell(smoke, smoke.models[0], smoke.data[0], 0, Settings(30, None, 16), Path("out"))
        >>> cell.run.as_posix(), cell.commands()["evaluate"]
        ('out/runs/vae-mnist-seed0', 'stf evaluate out/runs/vae-mnist-seed0 --sequences 16 --json
        out/runs/vae-mnist-seed0/evaluation.json')
    """

    suite: Suite
    model: Model
    data: Data
    seed: int
    settings: Settings
    out: Path

    @property
    def name(self) -> str:
        """Names the cell within its suite, and its run folder."""
        return f"{self.model.label}-{self.data.label}-seed{self.seed}"

    @property
    def pair(self) -> str:
        """Names what cells that differ in their seed alone share."""
        return f"{self.model.label}-{self.data.label}"

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.out / "runs" / self.name

    @property
    def trial_run(self) -> Path:
        """The run folder of the timed trial."""
        return self.out / "trials" / self.pair

    @property
    def log(self) -> Path:
        """Everything that the commands of this cell print."""
        return self.out / "logs" / f"{self.name}.log"

    @property
    def evaluation(self) -> Path:
        """What ``stf evaluate`` writes."""
        return self.run / "evaluation.json"

    @property
    def curve(self) -> Path:
        """What :mod:`stf.benchmark.run.curve` writes."""
        return self.run / "curve.json"

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint that is there once training is finished."""
        return self.run / "checkpoints" / f"step-{self.settings.steps:08d}"

    def with_steps(self, steps: int) -> Cell:
        """Return this cell with its steps known."""
        return replace(self, settings=replace(self.settings, steps=steps))

    def train(self) -> list[str]:
        """Arguments of ``stf`` that train this cell; twice the checkpoints planned are kept, for interruptions' own."""
        steps = self.settings.steps
        every = "EVERY" if steps is None else -(-steps // self.suite.points)
        counts = ("--steps", "STEPS" if steps is None else steps, "--seed", self.seed)
        saves = ("--checkpoint-every", every, "--keep-checkpoints", 2 * self.suite.points)
        return self._train(self.run, *counts, *saves)

    def resume(self) -> list[str]:
        """Arguments of ``stf`` that go on with the training of this cell."""
        return _words("train", "--resume", self.run, *self._device())

    def trial(self) -> list[str]:
        """Arguments of ``stf`` that train this cell for a few steps, to time it."""
        steps = ("--steps", TRIAL_STEPS, "--seed", self.seed, "--log-every", 1)
        return self._train(self.trial_run, *steps, "--validate-every", TRIAL_STEPS)

    def evaluate(self) -> list[str]:
        """Arguments of ``stf`` that measure this cell."""
        more = (*(["--codes"] if self.suite.codes and self.settings.codes else []), *self._device())
        return _words("evaluate", self.run, "--sequences", self.settings.sequences, "--json", self.evaluation, *more)

    def commands(self) -> dict[str, str]:
        """The commands that reproduce this cell, for a shell."""
        return {"train": command(self.train()), "evaluate": command(self.evaluate())}

    def _train(self, run: Path, *more: object) -> list[str]:
        root = () if self.settings.root is None else ("--data.root", self.settings.root)
        mode, variant = self.model.flags[:2], self.model.flags[2:]
        flags = (*mode, *self.data.flags, *self.suite.train, *variant)  # the last of several wins
        return _words("train", *flags, *root, *self._device(), *more, "--out", run)

    def _device(self) -> tuple[str, ...]:
        return () if self.settings.device == "auto" else ("--device", self.settings.device)


def command(arguments: Sequence[str]) -> str:
    """Return the line for a shell that runs ``stf`` with ``arguments``.

    Example:
        >>> command(["evaluate", "my run"])
        "stf evaluate 'my run'"
    """
    return shlex.join(["stf", *arguments])


def cells(
    suite: Suite, models: Sequence[Model], seeds: Sequence[int], settings: Settings, out: Path
) -> tuple[list[Cell], list[str]]:
    """Return the cells of a grid, all models with the first seed first, and the data sets that were left out.

    Data sets that need a root are left out without one.

    Example:
        >>> from stf.benchmark.suites import SUITES
        >>> suite = SUITES["sample-efficiency"]
        >>> found, left_out = cells(suite, suite.models[:1], [0], Settings(100, None, 50), Path("out"))
        >>> len(found), left_out
        (3, ['mnist-10000', 'mnist-48000'])
    """
    data = [one for one in suite.data if settings.root is not None or not one.needs_root]
    left_out = [one.label for one in suite.data if one not in data]
    grid = [Cell(suite, model, one, seed, settings, out) for seed in seeds for one in data for model in models]
    return grid, left_out


def _words(*arguments: object) -> list[str]:
    return [as_argument(argument) if isinstance(argument, Path) else str(argument) for argument in arguments]
