"""Training from Python, in one call."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

import ffrl.data
from ffrl.config import DataConfig, RunConfig
from ffrl.core.device import flush_denormals, resolve_device
from ffrl.core.errors import UserError, fitting, require
from ffrl.core.terminal import Console
from ffrl.data.arrays import arrays
from ffrl.data.base import SequenceData
from ffrl.data.catalogue import IN_MEMORY
from ffrl.data.on_device import on_device
from ffrl.data.spec import DataSpec
from ffrl.models.frame_kind import FeatureValues
from ffrl.nn.networks import output_shape
from ffrl.storage.names import CONFIG
from ffrl.training.callbacks import Callback
from ffrl.training.config_io import config_from_dict, read_config, sections
from ffrl.training.folders import reserved
from ffrl.training.parallel import join
from ffrl.training.trainer import train as train_model
from stf.precheck import Doubts
from stf.registry import CONFIGS, MODES, default_config, fine_tuning
from stf.run import Run, build_model, sizes_of, start_from

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Sequences = SequenceData | DataConfig | str | ArrayLike | Tensor
"""What can be trained on: sequences, the configuration or the name of a data set, or an array of frames."""


def configure(
    mode: str,
    settings: Mapping[str, Any],
    data: DataConfig | None = None,
    spec: DataSpec | None = None,
    tuning: bool = False,
) -> RunConfig:
    """The configuration of a run: the defaults of the mode for the data, then ``settings``.

    Args:
        mode: ``unsupervised``, ``supervised``, ``weak`` or a baseline.
        settings: as in a configuration file: sections are mappings or dotted names, ``-`` and ``_`` mean the same.
        data: of a data set; that of MNIST for None.
        spec: of sequences that are there already, in place of what their name says.
        tuning: whether it starts from another run, see :func:`stf.registry.fine_tuning`.

    Raises:
        UserError: an unknown mode or key, or a value of the wrong type or range.

    Example:
        >>> config = configure("unsupervised", {"steps": 100, "model.num-fields": 4})
        >>> config.steps, config.model.num_fields, config.data.num_steps
        (100, 4, 8)
    """
    _require_mode(mode)
    own = sections(settings).get("data")
    if isinstance(own, Mapping):  # what decides on the defaults
        data = config_from_dict(DataConfig, own, "settings", base=data or DataConfig(), prefix="data.")
    base = default_config(mode, data, spec)
    return config_from_dict(CONFIGS[mode], settings, "settings", base=fine_tuning(base) if tuning else base)


def fit(
    data: Sequences,
    mode: str = "unsupervised",
    *,
    steps: int | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    init: str | Path | Run | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    strict: bool = False,
    **settings: Any,
) -> Run:
    """Train on sequences, and return the run.

    Args:
        data: from :func:`stf.data.arrays` or :func:`stf.data.dataset`, an array or tensor of frames, a
            :class:`~ffrl.config.DataConfig`, or the name of a data set.
        mode: ``unsupervised``, ``supervised`` (of data whose activity is known), ``weak``, or a baseline.
        steps: of all phases; those of the mode for None.
        out: run folder, new or empty; ``runs/<mode>-<data>-<time>`` for None.
        seed: of everything random.
        device: ``cpu``, ``cuda`` or ``auto``.
        encoder: a module of one's own, images ``(N, C, H, W)`` to ``(N, 2 D)``, means before log-variances; D becomes
            the dimension of the latent space.
        decoder: one from latents ``(N, D)`` to pixel logits ``(N, C, H, W)``.
        init: a run of the same model to start from: its weights are trained on, all at once, and neither are frames
            alone first nor fields searched for, unless the settings say so.
        resume: go on with the run in ``out``, given the same arguments, or more ``steps``.
        callbacks: told of every entry of ``metrics.jsonl``: ``callback(step, entry)``; see
            :mod:`ffrl.training.callbacks` for TensorBoard and Weights & Biases.
        quiet: print nothing.
        strict: train on nothing that looks wrong: what is a warning without it is an error before anything is written.
        settings: whatever ``stf train`` has flags for: ``batch_size=32``, ``model={"num_fields": 9}``,
            ``sparsity={"slab": "signed"}``.

    Raises:
        UserError: anything that cannot be used; the message is one line.

    Example:
        >>> import numpy as np, stf
        >>> run = stf.fit(stf.data.arrays(np.zeros((10, 6, 12, 20), np.uint8)), steps=300)  # doctest: +SKIP
        >>> run.model.infer(torch.zeros(1, 6, 1, 12, 20)).shape  # doctest: +SKIP
        torch.Size([1, 5, 6])
    """
    flush_denormals()
    _require_mode(mode)
    told = () if callbacks is None else callbacks
    if not isinstance(told, Sequence) or not all(map(callable, told)):
        raise UserError(f"callbacks: found {told!r}, expected a list of functions of a step and an entry")
    require(not resume or out is not None, "out", None, "the folder of the run to resume")
    target = resolve_device(device)
    with join().in_turn():
        named, sequences = _sequences(data, target)
    spec = DataSpec.of(sequences)
    settings |= {"seed": seed, "device": device} | ({} if steps is None else {"steps": steps})
    if encoder is not None:
        settings = _with_latent_dim(settings, mode, encoder, spec)
    config = configure(mode, settings, named, spec, init is not None)
    doubts = Doubts(strict, quiet)
    if not resume:
        doubts.of_data(sequences, config)
    with fitting(sizes_of(config, spec.image_shape)), doubts.of_weights(target):
        model = build_model(config, spec.image_shape, encoder, decoder, spec.features)
    if init is not None:
        start_from(model, init)
    if resume and out is not None and (Path(out).expanduser() / CONFIG).is_file():
        before = read_config(Path(out).expanduser() / CONFIG, CONFIGS)
        if config.planned_steps is None and before.steps <= config.steps:
            planned = before.planned_steps or before.steps
            config = replace(config, planned_steps=None if planned == config.steps else planned)
    with ExitStack() as stack:
        path = join().shared(
            lambda: Path(out).expanduser() if out is not None else stack.enter_context(reserved(mode, spec.name))
        )
        console = Console(stderr=True, quiet=quiet)
        run = replace(config, out=path), model, sequences, path, resume, console
        train_model(*run, callbacks=told, findings=doubts.findings)
    encoder, decoder = copy.deepcopy((encoder, decoder))  # those that were given can be trained on
    return Run.open(path, device=str(target), data=sequences, encoder=encoder, decoder=decoder)


def report(
    run: str | Path | Run,
    out: str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    *,
    data_root: Path | None = None,
    **options: Any,
) -> list[Path]:
    """Write all figures of a run, animations and a report; see :func:`stf.report.build.draw`.

    Args:
        run: run folder, or a run that is open.
        out: folder for the figures; ``figures`` in the run folder for None.
        seed: chooses the held-out images and sequences.
        device: where to compute, for a run folder.
        data_root: folder of the data set; the one that the run was trained on for None.
        options: ``plane``, ``form``, ``motion`` and ``console``.

    Returns:
        The written files, the report last.

    Raises:
        UserError: the run, its data or the plane cannot be used, or ``out`` cannot be written.

    Example:
        >>> report("runs/demo")  # doctest: +SKIP
    """
    from stf.plot.compute.plane import parse_plane

    flush_denormals()
    opened = run if isinstance(run, Run) else Run.open(run, device=device)
    opened.require_fields()
    parse_plane(options.get("plane", "trajectories"), opened.model.latent_dim)
    if data_root is not None:
        opened.given = opened.data_at(data_root)
    return opened.report(out, seed=seed, **options)


def figures(run: str | Path | Run, **options: Any) -> dict[str, Figure]:
    """All figures of a run by name; see :meth:`stf.run.Run.figures`."""
    return (run if isinstance(run, Run) else Run.open(run)).figures(**options)


def _require_mode(mode: str) -> None:
    MODES.require("mode", mode)


def _sequences(data: Sequences, device: torch.device) -> tuple[DataConfig, SequenceData]:
    """The sequences on the device, and the configuration that names them."""
    if isinstance(data, str):
        data = default_config("weak", DataConfig(name=data)).data
    if isinstance(data, DataConfig):
        return data, ffrl.data.load(data, device)
    if not isinstance(data, SequenceData):
        data = arrays(data)
    if data.name != IN_MEMORY:
        raise UserError(f"data: found {data.title} without its configuration, expected its DataConfig or its name")
    return DataConfig(name=IN_MEMORY, num_steps=data.num_steps), on_device(data, device)


def _with_latent_dim(settings: dict[str, Any], mode: str, encoder: nn.Module, spec: DataSpec) -> dict[str, Any]:
    """Settings with D as the encoder of one's own has it, unless they name D."""
    model = settings.get("model", {})
    if not isinstance(model, Mapping):
        return settings  # refused by what reads them
    model = dict(model)
    if not {"latent_dim", "latent-dim"} & model.keys():
        seen = spec.image_shape if spec.features is None else FeatureValues(spec.features).entered(spec.image_shape)
        model["latent_dim"] = max(1, output_shape("encoder", encoder, seen)[-1] // MODES[mode].outputs)
    return settings | {"model": model}
