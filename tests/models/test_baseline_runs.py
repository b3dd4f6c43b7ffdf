"""Runs of the baselines: training, measuring and their curves, as the command line does it."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from cli_tools import TINY, complaint

import stf
from cli.main import main
from ffrl.config import DataConfig
from ffrl.core.files import to_json
from ffrl.core.registry import modules_in
from ffrl.data import load
from ffrl.models.baselines.poflow import PoFlowConfig
from ffrl.models.frame_vae import FrameVAE
from ffrl.models.interface import Calibrated
from ffrl.storage.names import METRICS
from ffrl.training.checkpoint import STATE
from ffrl.training.log import read_metrics
from stf.benchmark.run.curve import error_curve, errors
from stf.run import build_model


@pytest.mark.parametrize("mode", modules_in("ffrl.models.baselines", "MODE"))
def test_every_mode_trains_and_is_measured_by_the_command_line(
    mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    sizes = {"tvae": ["--model.latent-dim=12", "--model.capsule-size=4"], "msp": ["--model.rows=2"]}.get(mode, [])
    still = ["--still.fraction=0.5", "--still.frames=2"]
    assert main(["train", "--mode", mode, "--out", str(run), *TINY, *still, *sizes]) == 0
    report = tmp_path / "report.json"
    assert main(["evaluate", str(run), "--sequences=4", "--device=cpu", "--json", str(report)]) == 0
    found = json.loads(report.read_text())
    assert found["model"]["mode"] == mode
    assert set(found["equivariance"]) == {"scaling", "rotation", "hue"}
    assert ("likelihood" in found) == (mode != "msp")
    if mode != "msp":
        quantity = "log p(frames | transformation)" if mode in ("tvae", "poflow") else "log p(frames)"
        assert found["likelihood"]["quantity"] == quantity
    model = stf.load(run)
    if isinstance(model, Calibrated):
        assert model.displacements.offset.any()
    capsys.readouterr()


def test_displacements_are_in_the_last_checkpoint_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = [*TINY, "--steps=4", "--checkpoint-every=2"]
    assert main(["train", "--mode", "vae", "--out", str(run), *flags]) == 0
    assert not stf.load(run, step=2).displacements.offset.any()
    assert stf.load(run, step=4).displacements.offset.any()


def test_the_log_has_the_seconds_of_steps_and_the_run_those_of_estimating_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, steps = tmp_path / "run", 4
    monkeypatch.setattr(FrameVAE, "calibrate", lambda model, data, images: time.sleep(1.5))
    flags = [*TINY, f"--steps={steps}", "--log-every=1", "--checkpoint-every=2"]
    assert main(["train", "--mode", "vae", "--out", str(run), *flags]) == 0
    logged = [entry["seconds"] for entry in read_metrics(run / METRICS) if "seconds" in entry]
    state = json.loads((run / "checkpoints" / "step-00000004" / STATE).read_text())
    assert len(logged) == steps and state["seconds"] - logged[-1] >= 1.5 > logged[-1] - logged[-2]


def test_checkpoints_of_an_interruption_are_no_points_of_the_curve(tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = [*TINY, "--steps=6", "--checkpoint-every=2", "--keep-checkpoints=9"]
    assert main(["train", "--mode", "poflow", "--out", str(run), *flags]) == 0
    shutil.copytree(run / "checkpoints" / "step-00000004", run / "checkpoints" / "step-00000005")
    assert [point["step"] for point in error_curve(run, 2)] == [2, 4, 6]


def test_errors_that_are_not_finite_are_none_in_a_curve() -> None:
    model = build_model(PoFlowConfig(), (3, 28, 28))
    for parameter in model.decoder.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    found = errors(model, load(DataConfig()), 2)
    assert found == dict.fromkeys(("scaling", "rotation", "hue", "mean"))
    assert b"NaN" not in to_json(found)


def test_what_is_estimated_after_the_last_step_is_needed_to_predict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", "--mode", "vae", "--out", str(run), *TINY, "--steps=4", "--checkpoint-every=2"]) == 0
    capsys.readouterr()
    shutil.rmtree(run / "checkpoints" / "step-00000004")
    line = complaint(capsys, "evaluate", str(run), "--sequences", "8")
    assert "found a run stopped at step 2 of 4, expected a finished one: what vae predicts with" in line


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--mode=beta-vae --beta=0", "beta: found 0.0, expected a number above 0"),
        ("--mode=tvae --model.latent-dim=30", "model.latent-dim: found 30, expected a multiple of 12 from 36 on"),
        ("--mode=msp --model.latent-dim=100", "model.latent-dim: found 100, expected a multiple of 16 rows"),
        ("--mode=msp --model.condition=10", "model.condition: found 10, expected at most 9"),
        ("--mode=factor-vae --batch-size=1", "batch-size: found 1, expected at least 2"),
        ("--mode=poflow --model.no-time-dependent", "model.time-dependent: found False, expected true"),
        ("--mode=vae --beta=2", "--beta: found in mode vae, expected only in mode beta-vae"),
        ("--mode=vae --data.name=sequences --data.root=.", "data.name: found 'sequences', expected data whose"),
        ("--mode=vae --model.num-fields=4", "model.num-fields: found 4, expected 3, one per transformation"),
    ],
)
def test_what_does_not_fit_is_one_line(
    flags: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in complaint(capsys, "train", *flags.split(), "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
