"""Runs: a model built from its configuration, trained, opened again, measured, drawn and exported."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from torch import nn

import ffrl.data
from ffrl.config import RunConfig
from ffrl.core.device import flush_denormals, resolve_device
from ffrl.core.errors import UserError, fitting, require
from ffrl.core.progress import say
from ffrl.data.base import SequenceData, Split
from ffrl.data.contents import Contents
from ffrl.data.features import Features
from ffrl.data.inventory import Inventory
from ffrl.data.on_device import on_device, where_made
from ffrl.data.spec import DataSpec
from ffrl.models.interface import Calibrated, SequenceModel, WithFields
from ffrl.storage.names import CONFIG, DESCRIPTION, METRICS
from ffrl.storage.room import Room
from ffrl.storage.tensors import read_header
from ffrl.training.checkpoint import MODEL, checkpoint_step, find_checkpoint, load_weights
from ffrl.training.config_io import config_to_dict, flat, read_config
from ffrl.training.log import read_metrics
from ffrl.training.parallel import join
from ffrl.training.run_folder import Description, require_run
from ffrl.training.trainer import TrainingResult
from ffrl.training.trainer import train as train_model
from stf.precheck import Doubts
from stf.registry import CONFIGS, MODES, default_config

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def build_model(
    config: RunConfig,
    image_shape: tuple[int, ...],
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    features: Features | None = None,
) -> SequenceModel:
    """A freshly initialised model on the CPU; its weights depend on ``config.seed`` alone.

    Args:
        config: of any mode.
        image_shape: (C, H, W), or (F,) of vectors.
        encoder, decoder: modules of one's own, see :meth:`ffrl.models.mode.Mode.build`.
        features: of vectors; None for images.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> build_model(SupervisedConfig(), (3, 28, 28)).num_controls
        3
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return MODES[config.mode].build(config, image_shape, encoder, decoder, features)


def sizes_of(config: RunConfig, frame_shape: tuple[int, ...]) -> str:
    """What a user's configuration asks of a model, in words, for want of memory.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> sizes_of(SupervisedConfig(), (3, 28, 28))[:22]
        'model (latent-dim 48, '
    """
    sizes = flat(config_to_dict(config.model))
    told = ", ".join(f"{name} {value}" for name, value in sizes.items() if type(value) is int)
    return f"model ({told}, {'images' if len(frame_shape) == 3 else 'vectors'} of {' x '.join(map(str, frame_shape))})"


@dataclass
class Run:
    """A run folder, opened once: the newest checkpoint or another one, with everything that belongs to it.

    Args:
        path: run folder.
        step: of the checkpoint.
        config: configuration.
        spec: shape, T and names of the data that it was trained on.
        model: in evaluation mode.
        given: data in memory, where the run cannot read them itself.
        recordings: those that it was trained on, where they are a user's own.
        contents: hashes of the data that it was trained on; None where nothing is known of them.

    Example:
        >>> run = Run.open("runs/demo")  # doctest: +SKIP
        >>> run.evaluate(sequences=200)["alignment"]["alive"]  # doctest: +SKIP
        {'fields': 3, 'transformations': 3}
    """

    path: Path
    step: int
    config: RunConfig
    spec: DataSpec
    model: SequenceModel
    given: SequenceData | None = field(default=None, repr=False)
    recordings: Inventory | None = field(default=None, repr=False)
    contents: Contents | None = field(default=None, repr=False)

    @classmethod
    def open(
        cls,
        path: str | Path,
        step: int | None = None,
        device: str = "cpu",
        *,
        data: SequenceData | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> Run:
        """Open a run folder; neither its data nor the place where they were is needed.

        Args:
            path: run folder.
            step: which checkpoint; the newest for None.
            device: where to put the model.
            data: data in memory, to measure and draw the run on.
            encoder, decoder: fresh modules of the classes that the run was trained with, where these were one's own.

        Raises:
            UserError: no such run or checkpoint, damaged, of another version, or modules are missing or do not fit.
        """
        path = Path(path).expanduser()
        require_run(path)
        checkpoint = find_checkpoint(path, step)
        config = read_config(checkpoint / CONFIG, CONFIGS, earlier=True)
        described = Description.read(path)
        _require_modules(path, described.modules, {"encoder": encoder, "decoder": decoder})
        spec = described.data or _spec_by_name(config)
        with Room(read_header(checkpoint / MODEL), f"{checkpoint / CONFIG}: model"):
            model = build_model(config, spec.image_shape, encoder, decoder, spec.features)
        load_weights(checkpoint, model)
        model = model.eval().requires_grad_(False).to(resolve_device(device))
        known = described.recordings, described.contents
        return cls(path, checkpoint_step(checkpoint), config, spec, model, data, *known)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def finished(self) -> bool:
        """Whether the checkpoint is that of the last step."""
        return self.step >= self.config.steps

    @cached_property
    def data(self) -> SequenceData:
        """The data of the run, on its device: those that were given, else those that its configuration names.

        Raises:
            UserError: they cannot be read, or were in memory and have not been given.
        """
        return self.data_at(None)

    def data_at(self, root: Path | None) -> SequenceData:
        """The data of the run, from another folder unless ``root`` is None."""
        if self.given is not None:
            return on_device(self.given, self.device)
        config = replace(self.config.data, root=self.config.data.root if root is None else root, download=False)
        with fitting(f"data {config.name}"):
            data = ffrl.data.load(config, self.device)
        made = where_made(data)
        if not self._hold_out(made):
            self._compare(made)
        return data

    def _compare(self, data: SequenceData) -> None:
        """Say what the data hold that was not trained on."""
        found = None if self.contents is None else data.contents()
        change = None if found is None or self.contents is None else self.contents.change(found)
        if change is not None:
            say(f"warning: {self.path}: found other data than in training ({change}); these are measured")

    def _hold_out(self, data: SequenceData) -> bool:
        """Hold out the recordings that were not trained on, whatever else there is now; say what has changed, if any.

        Returns:
            Whether something was said.
        """
        known, found = self.recordings, data.inventory
        if known is None or found is None:
            return False
        change = known.change(replace(found, held_out=known.held_out))
        if change is None and set(known.held_out) == set(found.held_out):
            return False
        if not known.sizes.keys() & found.sizes.keys():
            say(f"warning: {self.path}: none of its recordings is among these: other data, of which a part is measured")
            return True
        held = [name for name in known.held_out if found.sizes.get(name) == known.sizes[name]]
        unseen = [name for name in found.sizes if name not in known.sizes]
        if known.held_out and not held:
            expected = f"the recordings that were held out: {', '.join(known.held_out[:3])}"
            raise UserError(f"{self.path}: found other recordings than in training ({change}), expected {expected}")
        if known.held_out or unseen:
            data.hold_out(held if known.held_out else unseen)
        if change is None:
            return False
        seen = "what was held out then is" if known.held_out else "what is new is" if unseen else "a part of them is"
        say(f"warning: {self.path}: found other recordings than in training ({change}); {seen} measured")
        return True

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The entries of ``metrics.jsonl``: numbers, and the moves of the search for fields."""
        return read_metrics(self.path / METRICS)

    def evaluate(
        self,
        data: SequenceData | None = None,
        *,
        split: Split = "validation",
        seed: int = 0,
        sequences: int | None = None,
        codes: bool = False,
    ) -> dict[str, Any]:
        """Everything measured about the run, as plain numbers; see :func:`ffrl.evaluation.evaluate.evaluate`.

        Args:
            data: other data than its own.
            split: ``validation`` or ``test``.
            seed: of everything random.
            sequences: how many sequences to measure on; 1000, or all of a smaller split, for None.
            codes: also measure the latent codes, which needs scikit-learn.

        Raises:
            UserError: the data cannot be used, or the run is not finished and its model predicts only then.
        """
        from ffrl.evaluation.evaluate import evaluate as evaluate_model

        if isinstance(self.model, Calibrated) and not self.finished:
            raise UserError(
                f"{self.path}: found a run stopped at step {self.step} of {self.config.steps}, expected a finished "
                f"one: what {self.config.mode} predicts with is estimated after the last step"
            )
        data = self.data if data is None else on_device(data, self.device)
        with fitting(f"{self.path}: measuring {data.title}, T = {data.num_steps}"):
            measured = evaluate_model(self.model, data, split=split, seed=seed, sequences=sequences, codes=codes)
        return measured | {"run": str(self.path), "step": self.step}

    def figures(
        self, data: SequenceData | None = None, *, seed: int = 0, plane: str = "trajectories"
    ) -> dict[str, Figure]:
        """All figures of the model by name, on held-out data; see :func:`stf.report.all_figures.figures`.

        Raises:
            UserError: the data cannot be used, the model has no fields, or there is no such plane.
        """
        from stf.plot.drawing.style import legible
        from stf.report.all_figures import figures

        self.require_fields()
        drawn = figures(self.model, self.data if data is None else on_device(data, self.device), seed, plane)
        return {name: legible(figure) for name, figure in drawn.items()}

    def report(self, out: str | Path | None = None, **options: Any) -> list[Path]:
        """Write all figures, animations and ``report.html``; see :func:`stf.report.build.draw`."""
        from stf.report.build import draw

        with fitting(f"{self.path}: drawing fields of {self.model.latent_dim} dimensions, T = {self.spec.num_steps}"):
            return draw(self, out, **options)

    def export(self, folder: str | Path) -> list[Path]:
        """Write encoder, flow and decoder as programs of :mod:`torch.export`; see :func:`stf.export.export`."""
        from stf.export import export

        return export(self.model, folder)

    @property
    def usual_steps(self) -> int:
        """Steps that its mode has by default for such data."""
        return default_config(self.config.mode, self.config.data, self.spec).steps

    @property
    def has_fields(self) -> bool:
        """Whether the activity of its model drives vector fields, which can be drawn."""
        return isinstance(self.model, WithFields)

    def require_fields(self) -> None:
        """Raise a UserError unless its activity drives vector fields, which can be drawn."""
        found = f"mode {self.config.mode}, without vector fields"
        require(self.has_fields, str(self.path), found, "one whose activity drives vector fields")


def _spec_by_name(config: RunConfig) -> DataSpec:
    """What the catalogue knows of the data of a run that was made before runs described their data."""
    from ffrl.data.catalogue import image_shape, transformations

    names = transformations(config.data)
    return DataSpec(config.data.name, config.data.name, image_shape(config.data), config.data.num_steps, names)


def _require_modules(path: Path, own: dict[str, str], given: dict[str, nn.Module | None]) -> None:
    """Raise a UserError unless modules are given for those, and only those, that were the user's own."""
    for name, module in given.items():
        if (name in own) is (module is None):
            found, expected = ("none", own[name]) if name in own else (type(module).__name__, "none")
            raise UserError(f"{name}: found {found}, expected {expected}, as {path / DESCRIPTION} says")


def train(
    config: RunConfig,
    run_dir: Path,
    resume: bool = False,
    console: Console | None = None,
    init: str | Path | Run | None = None,
    strict: bool = False,
) -> TrainingResult:
    """Train in ``run_dir`` on the data that ``config`` names; see :func:`ffrl.training.trainer.train`.

    Args:
        config: of any mode.
        run_dir: run folder.
        resume: go on with the run in it.
        console: where to print.
        init: a run of the same model to start from.
        strict: train on nothing that looks wrong, see :class:`stf.precheck.Doubts`.

    Raises:
        UserError: configuration, data or run folder cannot be used.
    """
    flush_denormals()
    with join().in_turn(), fitting(f"data {config.data.name}"):
        data = ffrl.data.load(config.data, resolve_device(config.device))
    doubts = Doubts(strict)
    if not resume:
        doubts.of_data(data, config)
    with fitting(sizes_of(config, data.image_shape)), doubts.of_weights(data.device):
        model = build_model(config, data.image_shape, features=data.features)
    if init is not None:
        start_from(model, init)
    return train_model(config, model, data, run_dir, resume, console, findings=doubts.findings)


def start_from(model: SequenceModel, run: str | Path | Run) -> None:
    """Give a model the weights of a run: its newest checkpoint, or the one that is open.

    Raises:
        UserError: no such run, or its model has other modules or sizes.
    """
    start = (run.path, run.step) if isinstance(run, Run) else (Path(run).expanduser(),)
    require_run(start[0])
    load_weights(find_checkpoint(*start), model)


def load(
    run: str | Path,
    step: int | None = None,
    device: str = "cpu",
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
) -> SequenceModel:
    """The model of a run folder, in evaluation mode; :attr:`Run.config` of :meth:`Run.open` is its configuration.

    Args:
        run: run folder, or ``example:NAME`` for a trained model that comes with the package.
        step, device, encoder, decoder: as for :meth:`Run.open`.

    Raises:
        UserError: what :meth:`Run.open` raises.

    Example:
        >>> model = load("runs/demo")  # doctest: +SKIP
    """
    if str(run).startswith("example:"):
        from stf.examples import example

        return example(str(run)).to(resolve_device(device))
    return Run.open(run, step, device, encoder=encoder, decoder=decoder).model


def evaluate(
    run: str | Path | Run,
    split: Split = "validation",
    data_root: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    sequences: int | None = None,
    codes: bool = False,
) -> dict[str, Any]:
    """Everything measured about a run, as plain numbers.

    Args:
        run: run folder, or a run that is open.
        split, seed, sequences, codes: as for :meth:`Run.evaluate`.
        data_root: folder of the data set; the one that the run was trained on for None.
        device: where to compute, for a run folder.

    Raises:
        UserError: the run or the data cannot be used.
    """
    opened = run if isinstance(run, Run) else Run.open(run, device=device)
    data = None if data_root is None else opened.data_at(data_root)
    return opened.evaluate(data, split=split, seed=seed, sequences=sequences, codes=codes)
