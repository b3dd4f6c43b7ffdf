"""``stf evaluate`` and ``stf visualize-fields``: which run, what is passed on, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import sys
import types
from pathlib import Path

import pytest
from cli_tools import SEARCH, TINY, complaint

from cli.main import main
from ffrl.core.errors import UserError
from ffrl.training import folders
from stf.report.verdict import Verdict


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Work in a folder of its own, where ``runs`` is not yet."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a finished run of two steps."""
    run = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", "--mode", "unsupervised", "--out", str(run), *TINY, *SEARCH]) == 0
    return run


def started(path: str, at: int) -> Path:
    """Make what looks like a run that was started at a time."""
    folder = Path(path)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    os.utime(folder / "config.json", (at, at))
    return folder


def test_the_newest_run_is_the_one_started_last():
    started("runs/b", 100)
    newest = started("runs/study/a", 200)
    started("runs/c", 50)
    started("runs/b/checkpoints/step-00000001", 300)  # belongs to a run that is older
    Path("runs/empty").mkdir()
    assert folders.newest() == newest


def test_no_run_at_all_is_an_error():
    with pytest.raises(UserError, match="^runs: found no run folder"):
        folders.newest()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["runs", "config.json"]),
        (["a", "b"], ["'b'", "RUN"]),
        (["a", "--split", "train"], ["--split", "'train'", "validation or test"]),
        (["a", "--seed", "-2"], ["--seed", "-2"]),
        (["a", "--sequences", "0"], ["--sequences", "0"]),
        (["a", "--json", "no/where.json"], ["--json", "'no'"]),
        (["a", "--json", "."], ["--json", "folder"]),
        (["a", "--codes=yes"], ["--codes", "'yes'", "the flag alone"]),
        (["a", "--steps", "3"], ["'--steps'", "did you mean"]),
        (["nowhere"], ["nowhere"]),
        (["."], ["checkpoints"]),
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_one_line(capsys, arguments, parts):
    line = complaint(capsys, "evaluate", *arguments)
    assert all(part in line for part in parts), line


def test_arguments_are_passed_on_and_the_json_file_is_what_was_measured(capsys, monkeypatch, tmp_path):
    import ffrl.evaluation.report.terminal
    import stf.report.run_verdict
    import stf.run

    calls, devices = [], []

    def evaluate(run, **options):
        calls.append((run, options))
        return {"elbo": -1.5, "step": 7}

    opened = types.SimpleNamespace(has_fields=True)
    monkeypatch.setattr(stf.run.Run, "open", lambda run, device: devices.append((run, device)) or opened)
    monkeypatch.setattr(stf.report.run_verdict, "verdict_of", lambda run, report: Verdict(("Found.",), (), ()))
    monkeypatch.setattr(stf.run, "evaluate", evaluate)
    monkeypatch.setattr(
        ffrl.evaluation.report.terminal, "print_report", lambda report, console: console.print(report["elbo"])
    )
    run = started("runs/a", 1)
    assert main(["evaluate"]) == 0
    arguments = "evaluate runs/a --split test --data.root d --json out.json --seed 3 --sequences 7 --codes --device cpu"
    assert main(arguments.split()) == 0
    default = {"split": "validation", "data_root": None, "seed": 0, "sequences": None, "codes": False}
    given = {"split": "test", "data_root": Path("d"), "seed": 3, "sequences": 7, "codes": True}
    assert calls == [(opened, default), (opened, given)]
    assert devices == [(run, "auto"), (run, "cpu")]
    assert json.loads(Path("out.json").read_text()) == {"elbo": -1.5, "step": 7}
    (tmp_path / "link.json").symlink_to(tmp_path / "out.json")
    Path("out.json").write_text("old")
    assert main([*arguments.replace("out.json", str(tmp_path / "link.json")).split()]) == 0
    assert (tmp_path / "link.json").is_symlink() and json.loads(Path("out.json").read_text())["step"] == 7
    calls.pop(), devices.pop()
    output = capsys.readouterr()
    assert output.out == 3 * "-1.5\nWhat was found\n  Found.\n"
    again = "next: stf visualize-fields runs/a --data.root d\n"
    assert output.err == "next: stf visualize-fields runs/a\n" + 2 * again


def test_a_run_is_measured_and_repeats_its_numbers(capsys, trained):
    for name in ("a.json", "b.json"):
        arguments = ["evaluate", str(trained), "--sequences", "8", "--json", name, "--device", "cpu"]
        assert main(arguments) == 0
        output = capsys.readouterr()
        found, sure, then = map(output.out.index, ("What was found", "How sure that is", "What to do next"))
        assert 0 < found < sure < then and output.err == f"next: stf visualize-fields {trained}\n"
    assert json.loads(Path("a.json").read_text()) == json.loads(Path("b.json").read_text())
    assert Path("a.json").stat().st_size > 100


def damage(kind: str, path: Path) -> None:
    """Spoil a file of weights."""
    data = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        path.write_bytes(b"\x80\x04\x95\x1b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.")
    else:
        path.unlink()


@pytest.mark.parametrize("kind", ["truncated", "empty", "pickle", "missing"])
@pytest.mark.parametrize("command", ["evaluate", "visualize-fields"])
def test_damaged_weights_are_one_line(capsys, trained, kind, command):
    run = Path(shutil.copytree(trained, "run"))
    (weights,) = run.glob("checkpoints/*/model.safetensors")
    damage(kind, weights)
    assert str(weights) in complaint(capsys, command, run)


def test_weights_of_another_model_are_one_line(capsys, trained):
    assert main(["train", "--mode", "unsupervised", "--out", "other", *TINY, *SEARCH, "--model.latent-dim=5"]) == 0
    run = Path(shutil.copytree(trained, "run"))
    (weights,) = run.glob("checkpoints/*/model.safetensors")
    shutil.copy("other/checkpoints/step-00000002/model.safetensors", weights)
    line = complaint(capsys, "evaluate", run)
    assert str(weights) in line and "shape" in line


def test_a_run_without_a_checkpoint_is_one_line(capsys, trained):
    run = Path(shutil.copytree(trained, "run"))
    shutil.rmtree(run / "checkpoints")
    assert "checkpoint" in complaint(capsys, "evaluate", run)


def test_the_test_split_needs_the_full_data(capsys, trained):
    assert "test" in complaint(capsys, "evaluate", trained, "--split", "test")


def test_figures_go_into_the_run_or_where_they_are_wanted(capsys, monkeypatch):
    calls = []
    drawing = types.SimpleNamespace(report=lambda run, out, *_, **__: calls.append((run, out)) or [out / "report.html"])
    monkeypatch.setitem(sys.modules, "stf.api", drawing)
    run = started("runs/a", 1)
    assert main(["visualize-fields"]) == 0
    assert main(["visualize-fields", "elsewhere", "--out", "figures"]) == 0
    assert calls == [(run, run / "figures"), (Path("elsewhere"), Path("figures"))]
    assert capsys.readouterr().out == "runs/a/figures/report.html\nfigures/report.html\n"
