"""The Python contract: training through stf.run, loading back, and what a loaded model answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import stf
from ffrl.config import DataConfig, ModelConfig, RunConfig, SupervisedConfig
from ffrl.core.errors import UserError
from stf.config import DiscoveryConfig, SparseModelConfig, UnsupervisedConfig, WeakConfig
from stf.run import build_model, evaluate, train
from stf.sta.config import StaConfig, StaModelConfig

SMALL = {"latent_dim": 8, "width": 16, "depth": 1, "potential_width": 8}
SHARED = {"steps": 3, "batch_size": 4, "device": "cpu", "data": DataConfig(num_steps=3)}
SEARCH = {"discovery": DiscoveryConfig(fraction=0.15, sequences=32, held_out=16)}
CONFIGS: dict[str, RunConfig] = {
    "supervised": SupervisedConfig(model=ModelConfig(num_fields=3, **SMALL), **SHARED),
    "weak": WeakConfig(model=SparseModelConfig(num_fields=4, **SMALL), **SHARED, **SEARCH),
    "unsupervised": UnsupervisedConfig(model=SparseModelConfig(num_fields=5, **SMALL), **SHARED, **SEARCH),
    "sta": StaConfig(model=StaModelConfig(num_fields=5, **SMALL), **SHARED),
}


def test_sizes_of_another_mode_are_one_line() -> None:
    with pytest.raises(UserError, match="^model: found 'ModelConfig', expected a SparseModelConfig$"):
        WeakConfig(model=ModelConfig())


@pytest.fixture(scope="module", params=CONFIGS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param) / "run"
    train(CONFIGS[request.param], folder)
    return folder


def test_a_loaded_model_answers_as_documented(run: Path) -> None:
    model = stf.load(run)
    assert not model.training and model.trained.mode in CONFIGS
    fields = model.num_fields
    frames = torch.rand(2, 4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    z = model.encode(frames)
    assert z.shape == (2, 4, 8)
    g = torch.rand(2, 3, fields)
    path = model.flow(z[:, 0], g)
    assert path.shape == (2, 4, 8) and torch.equal(path[:, 0], z[:, 0])
    images = model.decode(path)
    assert images.shape == frames.shape and 0 <= images.min() and images.max() <= 1
    gradient, rotational = model.fields(z[:, 0], 0.5)
    assert gradient.shape == rotational.shape == (2, fields, 8)
    moved = z[:, 0] + torch.einsum("bk,bkd->bd", g[:, 0], sum(model.fields(z[:, 0], 1 / 3)))
    torch.testing.assert_close(path[:, 1], moved, atol=1e-5, rtol=1e-5)
    for method in ("exact", "trace", "poster"):
        assert model.log_density_change(z[:, 0], g[:, 0], 1 / 3, method=method).shape == (2,)
    if model.trained.mode == "supervised":
        with pytest.raises(ValueError, match="supervised"):
            model.infer(frames)
    else:
        assert model.infer(frames).shape == (2, 3, fields)


def test_weights_come_back_exactly_and_depend_on_the_seed_only(run: Path) -> None:
    config = stf.Run.open(run).config
    model = stf.load(run)
    again = stf.load(run, step=3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    torch.manual_seed(1)
    first = build_model(config, (3, 28, 28))
    state = torch.get_rng_state()
    second = build_model(config, (3, 28, 28))
    assert torch.equal(state, torch.get_rng_state())
    other = build_model(replace(config, seed=1), (3, 28, 28))
    weight = "encoder.1.weight"
    assert torch.equal(first.state_dict()[weight], second.state_dict()[weight])
    assert not torch.equal(first.state_dict()[weight], other.state_dict()[weight])


def test_evaluate_is_reproducible(run: Path) -> None:
    first, second = (evaluate(run, device="cpu", sequences=6) for _ in range(2))
    assert first == second and first["run"] == str(run)
    assert set(first["equivariance"]) == {"scaling", "rotation", "hue"}


def test_missing_step_is_one_line(run: Path) -> None:
    with pytest.raises(UserError, match="found no checkpoint of step 2"):
        stf.load(run, step=2)
