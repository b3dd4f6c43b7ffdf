"""``stf benchmark``: arguments, listing, and the smoke suite from end to end."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path

import pytest
from benchmark_tools import Standin
from cli_tools import complaint, stf

from cli.main import main


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Work in a folder of its own, where ``runs`` is not yet."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def quick(monkeypatch):
    """Processes of cells that do nothing and take no time, and no plots."""
    monkeypatch.setattr("stf.benchmark.run.process.Launcher", lambda main, threads: Standin(threads=threads))
    monkeypatch.setattr("stf.benchmark.tables.plots.write_plots", lambda suite, lines, out: [])


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["no suite", "mnist-table1", "smoke"]),
        (["smok"], ["'smok'", "did you mean 'smoke'"]),
        (["smoke", "--only", "vae,wek"], ["--only", "'wek'", "did you mean 'weak'"]),
        (["smoke", "--only", ","], ["--only", "no label", "unsupervised"]),
        (["smoke", "--seeds", "0,x"], ["--seeds", "'0,x'", "integers"]),
        (["smoke", "--seeds", "-1"], ["--seeds", "'-1'"]),
        (["smoke", "--steps", "0"], ["--steps", "found 0"]),
        (["smoke", "--steps", "9", "--budget", "9"], ["--budget", "no --steps"]),
        (["smoke", "--budget", "nan"], ["--budget", "above 0"]),
        (["smoke", "--jobs", "0"], ["--jobs", "found 0"]),
        (["smoke", "--threads", "0"], ["--threads", "found 0"]),
        (["smoke", "--sequences", "0"], ["--sequences", "found 0"]),
        (["smoke", "--sequences", "2001"], ["--sequences", "found 2001", "to 2000, the size of the validation split"]),
        (["mnist-table1", "--sequences", "4"], ["--sequences", "found 4", "expected 5 to 2000"]),
        (["mnist-table1", "--budget", "60", "--sequences", "4"], ["--sequences", "found 4"]),
        (["smoke", "--job", "2"], ["'--job'", "did you mean '--jobs'"]),
        (["smoke", "--executor", "lsf"], ["--executor: found 'lsf', expected processes, local or slurm"]),
        (["smoke", "--slurm.partition", "x"], ["--slurm.partition: found 'x', expected --executor slurm beside it"]),
        (["smoke", "--slurm.gpus=1", "--executor=local"], ["--slurm.gpus: found 1, expected --executor slurm beside"]),
        (["smoke", "--slurm.minutes=0", "--executor=slurm"], ["--slurm.minutes: found 0, expected an integer of at"]),
        (["smoke", "more"], ["'more'", "SUITE"]),
        (["smoke", "--data.root", "nowhere"], ["--data.root", "'nowhere'", "that is there"]),
        (["smoke", "--out", "file"], ["file", "cannot write"]),
        (["smoke", "--out", "full"], ["full", "no suite.json"]),
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_one_line(capsys, quick, arguments, parts):
    Path("file").touch()
    Path("full").mkdir()
    Path("full/thesis.tex").touch()
    line = complaint(capsys, "benchmark", *arguments)
    assert all(part in line for part in parts), line
    assert not Path("runs").exists()


def test_a_device_that_is_not_there_is_one_line_and_leaves_nothing(capsys, quick, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert complaint(capsys, "benchmark", "smoke", "--device", "cuda").startswith("device: found 'cuda'")
    assert not list(Path().iterdir())
    assert main(["benchmark", "smoke", "--device", "cuda", "--list"]) == 0, "for another machine"


def test_the_list_has_every_cell_with_its_commands_and_runs_nothing(capsys, quick):
    assert main(["benchmark", "smoke", "--list", "--seeds", "3,4,3", "--only", "weak,vae", "--out", "o"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[::3] == ["# vae-mnist-seed3", "# weak-mnist-seed3", "# vae-mnist-seed4", "# weak-mnist-seed4"]
    assert lines[4].startswith("stf train --mode weak ") and "--seed 3 " in lines[4]
    assert lines[4].endswith("--out o/runs/weak-mnist-seed3") and lines[5].startswith("stf evaluate o/runs/weak")
    assert not list(Path().iterdir())
    main(["benchmark", "sample-efficiency", "--list"])
    assert "left out, as they need --data.root: mnist-10000, mnist-48000" in capsys.readouterr().err


def test_a_benchmark_is_gone_on_with_and_widened(capsys, quick):
    assert main(["benchmark", "smoke", "--only", "vae"]) == 0
    output = capsys.readouterr()
    assert output.out.endswith("runs/benchmark-smoke\n") and "Equivariance error" in output.out
    assert main(["benchmark", "smoke", "--only", "vae,weak", "--seeds", "0,1", "--jobs", "2"]) == 0
    assert "4 cells, 1 of them done" in capsys.readouterr().err
    out = Path("runs/benchmark-smoke")
    assert len((out / "results.jsonl").read_text().splitlines()) == 4
    assert "**100.5** ± 0.7" in (out / "table.md").read_text()
    line = complaint(capsys, "benchmark", "smoke", "--sequences", "3")
    assert line == "--sequences: found 3, expected 16 as in runs/benchmark-smoke/suite.json, or another --out"


def test_a_failed_cell_is_exit_code_1_with_tables_of_the_rest(capsys, quick, monkeypatch):
    monkeypatch.setenv("STANDIN_FAIL", "vae-mnist-seed0")
    assert main(["benchmark", "smoke", "--only", "vae,weak"]) == 1
    output = capsys.readouterr()
    assert "Failed: vae-mnist-seed0 (train: exit code 2: stf: error: on purpose)" in " ".join(output.out.split())


@pytest.mark.usefixtures("interruptible")
def test_a_signal_ends_with_how_to_go_on(capsys, quick, monkeypatch):
    monkeypatch.setenv("STANDIN_HANG", "weak-mnist-seed0")
    monkeypatch.setenv("STANDIN_INTERRUPT", f"weak-mnist-seed0={int(signal.SIGINT)}")
    assert main(["benchmark", "smoke", "--only", "vae,weak", "--out", "o u t"]) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "stopped, 1 of 2 cells are done; to go on: stf benchmark smoke --only vae,weak --out 'o u t'"
    monkeypatch.delenv("STANDIN_HANG")
    assert main(shlex.split(last.partition("to go on: stf ")[2])) == 0


def test_threads_are_shared_out_unless_they_are_given(capsys, quick, monkeypatch):
    monkeypatch.setattr("stf.benchmark.run.machine.cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    runs = Path("runs/benchmark-smoke/runs")
    for flags, expected in (["--jobs=2"], "4"), (["--jobs=2", "--threads=3"], "3"), ([], "None"):
        seed = expected if expected != "None" else "9"
        assert main(["benchmark", "smoke", "--only", "vae", "--seeds", seed, *flags]) == 0
        assert (runs / f"vae-mnist-seed{seed}/starts.txt").read_text() == f"--mode threads={expected}\n"


def test_the_smoke_suite_from_end_to_end(tmp_path, capsys):
    """Two of its models in processes of their own; the command of a line reproduces its numbers."""
    process = stf("benchmark", "smoke", "--only", "vae,unsupervised", "--jobs", "2", cwd=tmp_path, timeout=400)
    assert process.returncode == 0, process.stderr
    out = Path("runs/benchmark-smoke")
    found = {line["model"]: line for line in map(json.loads, (out / "results.jsonl").read_text().splitlines())}
    assert sorted(found) == ["unsupervised", "vae"]
    line = found["unsupervised"]
    assert line["steps"] == 30 and line["sequences"] == 16 and line["data_title"] == "MNIST"
    assert {f"error/{name}" for name in ("scaling", "rotation", "hue", "mean")} <= line["metrics"].keys()
    assert {"iwae/gaussian-1", "elbo/bernoulli", "legacy_score", "f1/hue", "spikes_right"} <= line["metrics"].keys()
    assert [point["step"] for point in line["curve"]] == [15, 30]
    assert 0 < line["curve"][0]["seconds"] < line["curve"][1]["seconds"] == line["training_seconds"]
    assert [point["step"] for point in found["vae"]["curve"]] == [30], "calibrated after the last step"
    assert line["frames_per_second"] > 0 and 0 < line["data_share"] < 1 and line["machine"]["device"] == "cpu"
    assert {path.name for path in out.iterdir()} >= {"table.md", "table.tex", "error-time.png", "extrapolation.png"}
    assert "1,275.31 ± 1.89" in (out / "table.md").read_text() and "1,275.31" in process.stdout
    for command in found["vae"]["commands"].values():
        words = shlex.split(command.replace("runs/benchmark-smoke/runs", "again"))
        assert words[0] == "stf" and main(words[1:]) == 0
    again = json.loads(Path("again/vae-mnist-seed0/evaluation.json").read_text())
    for name in ("scaling", "rotation", "hue"):
        expected = found["vae"]["metrics"][f"error/{name}"]["mean"]
        assert again["equivariance"][name]["flow"]["seven_step_sum"]["mean"] == pytest.approx(expected, rel=1e-4)
