"""Runs: build a model from its configuration, train it, load it back, evaluate it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import ffrl.data
from ffrl.config import RunConfig
from ffrl.core.device import flush_denormals, resolve_device
from ffrl.core.errors import UserError, require
from ffrl.models.baselines.models import BASELINES
from ffrl.models.flow_vae import FlowFactorizedVAE
from ffrl.training.checkpoint import CONFIG, checkpoint_step, find_checkpoint, load_weights
from ffrl.training.config_io import read_config
from ffrl.training.trainer import TrainingResult
from ffrl.training.trainer import train as train_model
from stf.models.sparse_flow import SparseTransformationFlow
from stf.models.weak import WeakFlow
from stf.registry import CONFIGS
from stf.sta.model import SparseTransformationAnalysis

MODELS: dict[str, type[FlowFactorizedVAE]] = {
    "unsupervised": SparseTransformationFlow,
    "supervised": FlowFactorizedVAE,
    "weak": WeakFlow,
    **BASELINES,
    "sta": SparseTransformationAnalysis,
}
"""Model class of every mode, the baselines among them."""


def build_model(config: RunConfig, image_shape: tuple[int, int, int]) -> FlowFactorizedVAE:
    """A freshly initialised model on the CPU; its weights depend on ``config.seed`` alone.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> build_model(SupervisedConfig(), (3, 28, 28)).num_controls
        3
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return MODELS[config.mode](config, image_shape)


def train(config: RunConfig, run_dir: Path, resume: bool = False, console: Console | None = None) -> TrainingResult:
    """Train in ``run_dir`` as ``config`` says; see :func:`ffrl.training.trainer.train`.

    Raises:
        UserError: configuration, data or run folder cannot be used.
    """
    flush_denormals()
    data = ffrl.data.load(config.data, resolve_device(config.device))
    return train_model(config, build_model(config, data.image_shape), data, run_dir, resume, console)


def load(run: str | Path, step: int | None = None, device: str = "cpu") -> FlowFactorizedVAE:
    """The model of a run folder, in evaluation mode, with its configuration as ``model.config``.

    Args:
        run: run folder.
        step: which checkpoint; the newest for None.
        device: where to put the model.

    Raises:
        UserError: no such run or checkpoint, damaged, or of another version.

    Example:
        >>> model = load("runs/demo")  # doctest: +SKIP
    """
    checkpoint = find_checkpoint(Path(run), step)
    config = read_config(checkpoint / CONFIG, CONFIGS)
    model = build_model(config, ffrl.data.image_shape(config.data))
    load_weights(checkpoint, model)
    return model.eval().to(resolve_device(device))


def _require_calibrated(model: FlowFactorizedVAE, run: str | Path, step: int) -> None:
    """Raise a UserError if what the model predicts with is estimated after a last step that its run has not reached."""
    config = model.config
    if model.calibrated_at_end and step < config.steps:
        raise UserError(
            f"{run}: found a run stopped at step {step} of {config.steps}, expected a finished one: what {config.mode} "
            "predicts with is estimated after the last step"
        )


def load_with_fields(run: str | Path, step: int | None = None, device: str = "cpu") -> FlowFactorizedVAE:
    """The model of a run folder as :func:`load` gives it, if its activity drives vector fields, which can be drawn.

    Raises:
        UserError: what :func:`load` raises, or the model has no fields, as most baselines.
    """
    model = load(run, step, device)
    having = ", ".join(mode for mode, kind in MODELS.items() if kind.has_fields)
    require(model.has_fields, str(run), f"mode {model.config.mode}, without vector fields", f"one of {having}")
    return model


def evaluate(
    run: str | Path,
    split: str = "validation",
    data_root: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    sequences: int | None = None,
    codes: bool = False,
) -> dict[str, Any]:
    """Everything measured about a run, as plain numbers; see :func:`ffrl.evaluation.evaluate.evaluate`.

    Args:
        run: run folder.
        split: ``validation`` or ``test``.
        data_root: folder of the data set; the one that the run was trained on for None.
        device: where to compute.
        seed: seed of everything random.
        sequences: how many sequences to measure on; 1000, or all of a smaller split, for None.
        codes: also measure the latent codes, which needs scikit-learn.

    Raises:
        UserError: the run or the data cannot be used.
    """
    from ffrl.evaluation.evaluate import evaluate as evaluate_model

    step = checkpoint_step(find_checkpoint(Path(run)))
    model = load(run, step, device)
    _require_calibrated(model, run, step)
    root = data_root if data_root is not None else model.config.data.root
    config = dataclasses.replace(model.config.data, root=root, download=False)
    data = ffrl.data.load(config, resolve_device(device))
    measured = evaluate_model(model, data, split=split, seed=seed, sequences=sequences, codes=codes)
    return measured | {"run": str(run), "step": step}
