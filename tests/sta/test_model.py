"""STA as published: what its activity is inferred from, its defaults, and its runs by the command line."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cli_tools import ROOT, TINY, complaint
from small_models import BATCH, DIM, IMAGE, STEPS, forward, frames_and_activity, sta

import stf
from cli.main import main
from cli.train import configure
from ffrl.config import DataConfig, StillConfig
from ffrl.evaluation.likelihood.estimate import draw
from ffrl.evaluation.protocol.kind import activity_of
from ffrl.storage.names import METRICS
from ffrl.training.log import read_metrics
from stf.plot.compute.observed import prior_on
from stf.registry import CONFIGS, MODES, default_config
from stf.sta.activity import RelaxedPhase
from stf.sta.config import StaConfig


def test_activity_from_pixels_does_not_see_the_latents() -> None:
    frames = torch.rand(BATCH, STEPS + 1, *IMAGE)
    for source, follows in (("latents", True), ("pixels", False)):
        model = sta(activity_from=source)

        def found(model=model) -> tuple[torch.Tensor, ...]:
            drawn = draw(model, frames, 3, torch.Generator().manual_seed(0)).activity
            return model.activity_features(frames), forward(model, frames, None).activity, drawn.log_ratio

        before = found()
        with torch.no_grad():
            model.encoder[-1].weight[:DIM].mul_(-2.0)
        for first, second in zip(before, found(), strict=True):
            assert torch.equal(first, second) != follows


def test_activity_from_pixels_sees_each_frame_alone() -> None:
    model = sta()
    frames = torch.rand(BATCH, STEPS + 1, *IMAGE)
    found = model.activity_features(frames)
    assert found.shape == (BATCH, STEPS + 1, DIM)
    for step in range(STEPS + 1):
        torch.testing.assert_close(found[:, step], model.activity_encoder(frames[:, step]))
    sizes = [sum(p.numel() for p in net[:-1].parameters()) for net in (model.encoder, model.activity_encoder)]
    assert sizes[0] == sizes[1]
    assert sta(activity_from="latents").activity_encoder is None


def test_phases_are_still_frames_and_then_motion_that_cools() -> None:
    model = MODES["sta"].build(replace(StaConfig(), still=StillConfig(fraction=0.25)), IMAGE)
    phases = [model.phase(progress / 20) for progress in range(20)]
    assert [phase.still for phase in phases] == [True] * 5 + [False] * 15
    moving = phases[5:]
    assert all(isinstance(phase, RelaxedPhase) and not phase.still for phase in moving)
    assert [phase.temperature for phase in moving] == pytest.approx([0.5 ** (p / 20) for p in range(5, 20)])


def test_every_term_counts_once() -> None:
    model = sta()
    frames, _ = frames_and_activity(model)
    for progress in (0.3, 0.9):
        outputs = forward(model, frames, None, progress)
        total = sum(outputs.activity_kl.values())
        torch.testing.assert_close(total, model.activity_model.kl(model.activity_features(frames)))
        assert set(outputs.activity_kl) == {"spike", "slab"} and set(outputs.penalties) == {"divergence"}


def test_its_activity_is_aligned_with_what_acts() -> None:
    model = sta()
    frames, _ = frames_and_activity(model)
    assert model.activity_kind.free and not model.activity_kind.given
    batch = type("Batch", (), {"frames": frames, "activity": None})
    assert torch.equal(activity_of(model, batch), model.infer(frames))
    assert prior_on(model).tolist() == pytest.approx([0.5] * model.num_fields)
    several = sta(control="separate", sparsity={"on_rate": 0.1, "off_rate": 0.3})
    assert prior_on(several).tolist() == pytest.approx([1 - 0.75**2] * several.num_fields)


def test_the_mode_is_what_the_publication_says() -> None:
    config = StaConfig()
    assert (config.objective.bound, config.objective.density) == ("paper", "trace")
    assert (config.model.divergence, config.model.activity_from) == ("penalised", "pixels")
    assert config.sparsity.on_rate == config.sparsity.off_rate == 0.1
    assert (config.sparsity.slab, config.sparsity.slab_scale) == ("positive", 0.1)
    assert (config.relaxation.temperature, config.relaxation.final_temperature) == (1.0, 0.5)
    assert CONFIGS["sta"] is StaConfig


@pytest.mark.parametrize("name", ["mnist", "shapes3d", "sequences", "moving-mnist"])
def test_mode_and_preset_mean_the_same(name: str) -> None:
    flags = ["--data.name", name, *(() if name == "sequences" else ("--data.root", "somewhere"))]
    config = configure(["--mode", "sta", *flags])
    assert config == configure(["--config", "sta", *flags]) == configure(["--mode=sta", "--config=sta", *flags])


@pytest.mark.parametrize("name", ["mnist", "shapes3d", "sequences", "moving-mnist"])
def test_what_depends_on_the_data_is_as_in_the_unsupervised_mode(name: str) -> None:
    ours, theirs = (default_config(mode, DataConfig(name=name)) for mode in ("sta", "unsupervised"))
    for key in ("latent_dim", "num_fields", "architecture", "width", "depth", "potential_width", "rotational_width"):
        assert getattr(ours.model, key) == getattr(theirs.model, key), key
    optimizer = replace(theirs.optimizer, field_factor=3.0)  # where nothing searches for the fields they learn faster
    assert (ours.data, ours.batch_size, ours.optimizer) == (theirs.data, theirs.batch_size, optimizer)
    assert ours.objective == replace(theirs.objective, bound="paper", density="trace")
    other = default_config("msp", DataConfig(name=name))  # a search of the unsupervised mode takes steps of its own
    assert (ours.steps, ours.still) == (other.steps, other.still)


WRONG = {
    "--sparsity.on-rate 0": ["sparsity.on-rate", "probability"],
    "--sparsity.off-rate 1": ["sparsity.off-rate", "probability"],
    "--sparsity.slab-scale 0": ["sparsity.slab-scale", "above 0"],
    "--relaxation.temperature 0": ["relaxation.temperature", "above 0"],
    "--relaxation.final-temperature -1": ["relaxation.final-temperature", "above 0"],
    "--model.rotational-width 0": ["model.divergence", "exact"],
    "--model.potential-width 0 --model.time-dependent --objective.hj-weight 1": ["objective.hj-weight", "0 as"],
    "--model.activity-from frames": ["--model.activity-from", "latents", "pixels"],
    "--discovery.fraction 0": ["--discovery.fraction", "sta", "unsupervised or weak"],
}


@pytest.mark.parametrize("flags", WRONG)
def test_what_does_not_fit_is_one_line(capsys: pytest.CaptureFixture[str], flags: str) -> None:
    line = complaint(capsys, "train", "--mode", "sta", *flags.split())
    for part in WRONG[flags]:
        assert part in line


def test_other_modes_have_no_encoder_of_activity(capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "train", "--mode", "unsupervised", "--model.activity-from", "pixels")
    assert "--model.activity-from" in line and line.endswith("expected only in mode sta")


@pytest.mark.parametrize("launch", ["--mode=sta", "--config=sta"])
def test_forty_steps_and_what_can_be_done_with_them(
    launch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, report = tmp_path / "run", tmp_path / "report.json"
    flags = [*TINY, "--steps=40", "--model.rotational-width=4", "--model.rotational-rank=2"]
    assert main(["train", launch, *flags, "--out", str(run)]) == 0, capsys.readouterr().err
    train = [line for line in read_metrics(run / METRICS) if "train/loss" in line][-1]
    assert train["step"] == 40 and train["skipped_steps"] == 0
    assert {"train/kl_spike", "train/kl_slab", "train/kl_flow", "train/divergence"} <= train.keys()
    model = stf.load(run)
    frames = torch.rand(2, 3, 3, 28, 28)
    speeds = model.infer(frames)
    assert speeds.shape == (2, 2, 3) and speeds.isfinite().all()
    assert model.flow(model.encode(frames[:, 0]), speeds).isfinite().all()
    assert main(["evaluate", str(run), "--sequences=8", "--device=cpu", "--json", str(report)]) == 0
    found = json.loads(report.read_text())
    assert (found["model"]["mode"], found["model"]["trained_on"]) == ("sta", "mixed")
    assert {"alignment", "criteria", "likelihood", "equivariance"} <= found.keys() and "confusion" not in found
    assert found["likelihood"]["quantity"] == "log p(frames)" and "paper" in found["likelihood"]


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    flags = ["train", "--mode=sta", *TINY, "--steps=6", "--checkpoint-every=3", "--deterministic", "--out"]
    for run in (whole, half):
        assert main([*flags, str(run)]) == 0
    for path in (half / "checkpoints" / "step-00000006").iterdir():
        path.unlink()
    (half / "checkpoints" / "step-00000006").rmdir()
    assert main(["train", "--resume", str(half)]) == 0
    first, second = stf.load(whole).state_dict(), stf.load(half).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


UNWANTED = {
    "stf.models.sparse_flow", "stf.models.weak", "stf.models.unsupervised", "stf.config",
}  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / "stf" / "sta").glob("*.py")), ids=lambda path: path.stem)
def test_it_stands_on_the_base_alone(path: Path) -> None:
    """Nothing of how the unsupervised model learns its activity is imported, so that either can change alone."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            imported |= {node.module, *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    assert not imported & UNWANTED
    assert not any(str(name).startswith(("stf.inference", "stf.discovery")) for name in imported)
