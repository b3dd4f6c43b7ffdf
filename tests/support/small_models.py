"""Small models of every kind, with frames and activity for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from exact_tools import awaken
from torch import Tensor

from ffrl.config import DataConfig, ModelConfig, ObjectiveConfig, SupervisedConfig
from ffrl.models.interface import SequenceModel
from ffrl.models.outputs import SequenceOutputs
from stf.config import JointConfig, SparseModelConfig, SparsityConfig, UnsupervisedConfig, WeakConfig
from stf.models.sparse_flow import SparseTransformationFlow
from stf.registry import MODES
from stf.sta.config import SpikeSlabConfig, StaConfig, StaModelConfig

IMAGE, STEPS, BATCH, FIELDS, DIM = (2, 8, 8), 4, 3, 2, 6


SIZE = {"latent_dim": DIM, "num_fields": FIELDS, "width": 16, "depth": 1, "potential_width": 8}

SMALL_ROTATIONS = {"rotational_width": 8, "rotational_rank": 2}

PAPER = {"bound": "paper"}


HAMILTON_JACOBI = {"hj_weight": 0.1, "hj_initial_weight": 0.1}


def supervised(objective: dict | None = None, **size) -> SequenceModel:
    return make(SupervisedConfig, ModelConfig, objective, size)


def weak(objective: dict | None = None, joint: dict | None = None, **size) -> SequenceModel:
    size = SMALL_ROTATIONS | size
    return make(WeakConfig, SparseModelConfig, objective, size, joint=JointConfig(**(joint or {})))


def unsupervised(
    objective: dict | None = None, sparsity: dict | None = None, joint: dict | None = None, **size
) -> SequenceModel:
    size = SMALL_ROTATIONS | size
    sections = {"sparsity": SparsityConfig(**(sparsity or {})), "joint": JointConfig(**(joint or {}))}
    return make(UnsupervisedConfig, SparseModelConfig, objective, size, **sections)


def sta(objective: dict | None = None, sparsity: dict | None = None, **size) -> SequenceModel:
    size = SMALL_ROTATIONS | size
    objective = PAPER | {"density": "trace"} | (objective or {})
    return make(StaConfig, StaModelConfig, objective, size, sparsity=SpikeSlabConfig(**(sparsity or {})))


def make(kind: type, model: type, objective: dict | None, size: dict, **extra) -> SequenceModel:
    torch.manual_seed(0)
    config = kind(
        data=DataConfig(num_steps=STEPS),
        model=model(**SIZE | size),
        objective=ObjectiveConfig(**(objective or {})),
        **extra,
    )
    model = MODES[config.mode].build(config, IMAGE)
    if isinstance(model, SparseTransformationFlow):
        if repr(config) not in AWAKE:
            awake = awaken(model, frames_and_activity(model)[0]).state_dict()
            AWAKE[repr(config)] = {name: value.clone() for name, value in awake.items()}  # the model may be trained
        model.load_state_dict(AWAKE[repr(config)])
    return model


AWAKE: dict[str, dict[str, Tensor]] = {}
"""States in which the fields of models with exact activity explain the frames of the tests, by configuration."""


MODELS: dict[str, Callable[[], SequenceModel]] = {
    "supervised": supervised,
    "supervised-paper": lambda: supervised(PAPER),
    "supervised-hamilton-jacobi": lambda: supervised(PAPER | HAMILTON_JACOBI, time_dependent=True, substeps=2),
    "weak": weak,
    "weak-paper-mixer": lambda: weak(PAPER | {"density": "trace"}, architecture="mixer"),
    "unsupervised": unsupervised,
    "unsupervised-signed-separate": lambda: unsupervised(sparsity={"slab": "signed"}, control="separate"),
    "unsupervised-unit-fixed": lambda: unsupervised(sparsity={"slab": "unit", "learn_rates": False}),
    "unsupervised-drawn": lambda: unsupervised(joint={"activity": "draw", "agreement": 0.0}),
    "unsupervised-truncated": lambda: unsupervised(sparsity={"most": 1, "enumerated": 2}, control="separate"),
    "unsupervised-potentials-alone": lambda: unsupervised(PAPER, rotational_width=0),
    "unsupervised-timed-rk4": lambda: unsupervised(PAPER, time_dependent=True, integrator="rk4"),
    "unsupervised-conv": lambda: unsupervised(architecture="conv"),
    "sta": sta,
    "sta-signed-separate": lambda: sta(sparsity={"slab": "signed"}, control="separate", activity_from="latents"),
    "sta-unit-learned": lambda: sta(sparsity={"slab": "unit", "learn_rates": True}, architecture="conv"),
    "weak-conv-coarse": lambda: weak(architecture="conv-coarse"),
    "unsupervised-mixer": lambda: unsupervised(architecture="mixer", integrator="midpoint", substeps=2),
}


every_model = pytest.mark.parametrize("build", MODELS.values(), ids=MODELS.keys())


INFERRING = [name for name in MODELS if not name.startswith("supervised")]


inferring = pytest.mark.parametrize("build", [MODELS[name] for name in INFERRING], ids=INFERRING)


def frames_and_activity(model: SequenceModel, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(BATCH, STEPS + 1, *IMAGE, generator=generator)
    which = torch.arange(BATCH) % model.num_controls
    given = torch.eye(model.num_controls)[which].unsqueeze(1).repeat(1, STEPS, 1)
    return frames, given if model.activity_kind.given else None


def forward(model: SequenceModel, frames: Tensor, activity: Tensor | None, progress: float = 0.9) -> SequenceOutputs:
    noise = model.draw_noise(len(frames), STEPS, torch.Generator().manual_seed(1))
    return model(frames, noise, model.phase(progress), activity)


def some_activity(model: SequenceModel) -> Tensor:
    return torch.rand(BATCH, STEPS, model.num_controls, generator=torch.Generator().manual_seed(2))
