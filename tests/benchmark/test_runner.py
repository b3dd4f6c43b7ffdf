"""Running cells: order, resumption at any point, failures, signals, budgets; with a stand-in for training."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_tools import Standin, alive, line_of
from rich.console import Console

from ffrl.config import StillConfig
from ffrl.core.errors import UserError
from ffrl.training.config_io import write_config
from stf.benchmark.run.budget import steps_within, timing
from stf.benchmark.run.cell import LEAST_STEPS, Settings, cells
from stf.benchmark.run.process import Child, last_line, stop
from stf.benchmark.run.progress import Progress
from stf.benchmark.run.records import RESULTS, STEPS, Records, prepare
from stf.benchmark.run.runner import Runner, exit_code
from stf.benchmark.suites import SUITES
from stf.registry import default_config

SMOKE = SUITES["smoke"]
FIXED = Settings(steps=8, budget=None, sequences=16)


def grid_of(out, labels=("vae", "weak"), seeds=(0, 1), settings=FIXED):
    """Cells of the smoke suite."""
    return cells(SMOKE, SMOKE.choose(labels), seeds, settings, out)[0]


def run(grid, jobs=2, launcher=None):
    """Run cells; return the outcome, the records as a later process reads them, and what was said."""
    text = io.StringIO()
    records = Records(grid[0].out / RESULTS)
    with Progress(Console(file=text, width=200)) as progress:
        outcome = Runner(records, launcher or Standin(), jobs, progress, "stf benchmark smoke").run(grid)
    return outcome, Records(grid[0].out / RESULTS).by_cell, text.getvalue()


def undated(results):
    """Lines of the results without the date."""
    found = [json.loads(line) for line in results.splitlines()]
    return [{key: value for key, value in line.items() if key != "date"} for line in found]


def lines_of(out):
    """Lines of the results of a folder without the date."""
    return undated((out / RESULTS).read_bytes())


@pytest.fixture
def out(tmp_path):
    """The folder of a benchmark."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def starts(cell):
    """How the training of a cell was started, each time."""
    return [line.split(" threads")[0] for line in (cell.run / "starts.txt").read_text().splitlines()]


def test_every_cell_gets_a_line_with_what_reproduces_it(out):
    grid = grid_of(out)
    outcome, found, said = run(grid)
    assert outcome.failed == [] and outcome.signal is None and exit_code(outcome) == 0
    assert sorted(found) == ["vae-mnist-seed0", "vae-mnist-seed1", "weak-mnist-seed0", "weak-mnist-seed1"]
    line = found["weak-mnist-seed1"]
    assert line["status"] == "done" and (line["model"], line["data"], line["seed"]) == ("weak", "mnist", 1)
    assert line["commands"]["train"].startswith("stf train --mode weak --data.name mnist")
    assert line["commands"]["train"].endswith(f"--seed 1 --checkpoint-every 4 --keep-checkpoints 4 --out {grid[3].run}")
    assert line["commands"]["evaluate"] == (
        f"stf evaluate {grid[3].run} --sequences 16 --json {grid[3].run}/evaluation.json"
    )
    assert (
        line["metrics"]["error/hue"] == {"mean": 101.0, "standard_error": 1.0} and line["metrics"]["error/mean"] == 101
    )
    assert (line["training_seconds"], line["frames_per_second"], line["data_share"]) == (4.0, 10.0, 0.5)
    assert (line["parameters"], line["prediction"], line["steps"], line["budget"]) == (7, "guessing", 8, None)
    assert line["machine"]["cores"] >= 1 and line["machine"]["threads"] == 1 and line["machine"]["at_a_time"] == 2
    assert line["curve"] == [{"step": 8, "seconds": 4.0, "error": {"mean": 100.0}}]
    assert line["frames"]["hue"] == [0.0, 1.0, 2.0] and line["benchmark"] == "stf benchmark smoke"
    assert "4 cells, 0 of them done" in said and "cell 4 of 4" in said and "mean error 101.0" in said


def test_finished_cells_are_skipped_and_the_others_go_on_from_where_they_are(out):
    grid = grid_of(out, labels=("vae", "weak"), seeds=(0, 1))
    run(grid)
    before = (out / RESULTS).read_bytes()
    assert run(grid)[0].failed == []
    assert (out / RESULTS).read_bytes() == before and starts(grid[0]) == ["--mode"]
    kept, *_ = before.splitlines(keepends=True)
    (out / RESULTS).write_bytes(kept)
    done = json.loads(kept)["cell"]
    trained, evaluated, half = (cell for cell in grid if cell.name != done)
    trained.evaluation.unlink()
    shutil.rmtree(half.last_checkpoint)
    half.evaluation.unlink()
    said = run(grid)[2]
    lines = lines_of(out)
    assert lines[0]["cell"] == done and sorted(map(str, lines)) == sorted(map(str, undated(before)))
    assert "4 cells, 1 of them done" in said
    assert starts(trained) == ["--mode"] and starts(evaluated) == ["--mode"]
    assert starts(half) == ["--mode", "--resume"]
    counts = [cell.log.read_text().count("$ stf evaluate") for cell in (trained, evaluated, half)]
    assert counts == [2, 1, 2]


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_processes_and_a_rerun_gives_the_same_lines(out, tmp_path, monkeypatch, number):
    guarded = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        grid = grid_of(out)
        monkeypatch.setenv("STANDIN_HANG", "weak-mnist-seed0,vae-mnist-seed1")
        monkeypatch.setenv("STANDIN_INTERRUPT", f"weak-mnist-seed0={int(number)}")
        start = time.monotonic()
        outcome, found, _ = run(grid)
        assert outcome.signal == number and exit_code(outcome) == 128 + number and time.monotonic() - start < 20
        assert "weak-mnist-seed0" not in found and len(found) < 4
        assert not alive(out)
    finally:
        signal.signal(signal.SIGTERM, guarded)
    monkeypatch.delenv("STANDIN_HANG")
    assert run(grid)[0] == ([], None)
    assert starts(grid[1]) == ["--mode", "--resume"]
    whole = tmp_path / "whole"
    whole.mkdir()
    run(grid_of(whole))
    there = [json.dumps(line).replace(str(whole), str(out)) for line in lines_of(whole)]
    assert sorted(map(json.dumps, lines_of(out))) == sorted(there)


def test_a_failed_cell_is_recorded_the_others_go_on_and_a_rerun_tries_it_anew(out, monkeypatch):
    grid = grid_of(out)
    monkeypatch.setenv("STANDIN_FAIL", "vae-mnist-seed0")
    outcome, found, said = run(grid, jobs=1)
    assert outcome.failed == ["vae-mnist-seed0"] and exit_code(outcome) == 1
    line = found["vae-mnist-seed0"]
    assert (line["status"], line["stage"], line["code"]) == ("failed", "train", 2)
    assert line["reason"] == "exit code 2: stf: error: on purpose" and "FAILED: vae on mnist, seed 0" in said
    assert [found[cell.name]["status"] for cell in grid[1:]] == ["done"] * 3
    monkeypatch.delenv("STANDIN_FAIL")
    outcome, found, _ = run(grid, jobs=1)
    assert outcome.failed == [] and [found[cell.name]["status"] for cell in grid] == ["done"] * 4
    assert starts(grid[0]) == ["--mode"], "it began anew"
    assert len(lines_of(out)) == 4


def test_a_cell_that_the_system_kills_goes_on_where_it_was(out):
    grid = grid_of(out, labels=("vae",), seeds=(0,))
    grid[0].run.mkdir(parents=True)
    (grid[0].run / "config.json").write_text('{"steps": 8, "seed": 0, "still": {"fraction": 0.25}}')
    Records(out / RESULTS).put({"cell": grid[0].name, "status": "failed", "stage": "train", "code": -9, "reason": ""})
    assert run(grid)[0].failed == [] and starts(grid[0]) == ["--resume"]


def test_a_training_that_failed_goes_on_once_from_its_checkpoint_and_then_begins_anew(out, monkeypatch):
    (cell,) = grid_of(out, labels=("vae",), seeds=(0,))
    monkeypatch.setenv("STANDIN_FAIL", cell.name)
    run([cell])
    (cell.run / "checkpoints/step-00000004").mkdir(parents=True)
    assert run([cell])[1][cell.name]["stage"] == "resume" and starts(cell) == ["--mode", "--resume"]
    monkeypatch.delenv("STANDIN_FAIL")
    assert run([cell])[0].failed == [] and starts(cell) == ["--mode"]


def test_a_run_of_other_steps_is_not_taken_for_the_cell(out):
    (cell,) = grid_of(out, labels=("vae",), seeds=(0,))
    cell.run.mkdir(parents=True)
    (cell.run / "config.json").write_text('{"steps": 5, "seed": 0}')
    outcome, found, _ = run([cell])
    assert outcome.failed == [cell.name]
    assert str(cell.run) in found[cell.name]["reason"] and "expected step-00000008" in found[cell.name]["reason"]


def test_a_damaged_evaluation_fails_its_cell_alone_and_is_measured_again(out):
    grid = grid_of(out, seeds=(0,))
    run(grid)
    (out / RESULTS).unlink()
    grid[0].evaluation.write_text("{")
    outcome, found, _ = run(grid)
    assert outcome.failed == [grid[0].name] and str(grid[0].evaluation) in found[grid[0].name]["reason"]
    assert run(grid)[0].failed == []


def test_a_training_left_over_from_a_killed_benchmark_is_not_touched(out):
    fcntl = pytest.importorskip("fcntl")
    (cell,) = grid_of(out, labels=("vae",), seeds=(0,))
    cell.run.mkdir(parents=True)
    with open(cell.run / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome, found, _ = run([cell])
        assert outcome.failed == [cell.name] and "another process" in found[cell.name]["reason"]
        assert [path.name for path in cell.run.iterdir()] == [".lock"]


def test_a_budget_becomes_steps_by_a_timed_trial_that_leaves_nothing(out):
    settings = Settings(steps=None, budget=100.01, sequences=16)
    grid = grid_of(out, settings=settings)
    outcome, found, said = run(grid)
    assert outcome.failed == []
    # 20 of 80 still steps of 0.01 s and 60 of 0.05 s: 0.04 s a step on average
    # of two searches, 8 s are needed once; 44 steps of 0.01 s, 26 of 0.02 s and 10 of 0.05 s: 0.01825 s a step
    assert {name: line["steps"] for name, line in found.items()} == {
        "vae-mnist-seed0": 2500,
        "vae-mnist-seed1": 2500,
        "weak-mnist-seed0": 5041,
        "weak-mnist-seed1": 5041,
    }
    assert {line["budget"] for line in found.values()} == {100.01}
    assert "--steps 2500 " in found["vae-mnist-seed0"]["commands"]["train"]
    assert not list((out / "trials").iterdir()) and "vae-mnist: 2500 steps" in said
    steps = json.loads((out / STEPS).read_text())
    assert sorted(steps) == ["vae-mnist", "weak-mnist"]
    (out / STEPS).write_text(json.dumps(steps | {"vae-mnist": {"steps": 999, "seconds_per_step": 1.0}}))
    (out / RESULTS).unlink()
    shutil.rmtree(out / "runs")
    assert run(grid)[1]["vae-mnist-seed1"]["steps"] == 999, "what was timed once is kept"


ENTRIES = [{"step": step, "seconds": 0.1 * step} for step in range(1, 81)]


@pytest.mark.parametrize("mode", ["vae", "sta", "weak", "unsupervised"])
def test_seconds_of_a_step_are_a_mean_over_the_phases_of_the_schedule(mode):
    config = replace(default_config(mode), steps=80)
    assert timing(ENTRIES, config) == pytest.approx((0.1, 0.0))
    mixed = [*ENTRIES, {"step": 9, "search": {"move": "end"}}, {"step": 80, "validation/loss": 1.0}]
    assert timing(sorted(mixed, key=lambda entry: entry["step"]), config) == pytest.approx((0.1, 0.0))


@pytest.mark.parametrize("last", [0, 20, 25, 60])
def test_a_trial_in_which_a_phase_is_missing_says_nothing(last):
    config = replace(default_config("unsupervised"), steps=80)
    assert timing([entry for entry in ENTRIES if entry["step"] <= last], config) is None


def test_decisions_of_a_search_take_as_long_however_many_steps_it_has():
    config = replace(default_config("weak"), steps=80)
    decided = [entry | {"seconds": entry["seconds"] + 3.0 * (entry["step"] > 60)} for entry in ENTRIES]
    assert timing(decided, config) == pytest.approx((0.1, 3.0))


def test_entries_across_the_end_of_a_phase_do_not_count():
    config = replace(default_config("vae"), steps=80, still=StillConfig(fraction=0.275))  # until step 22
    seconds = {step: 0.1 * step for step in (5, 10, 15, 20)} | {step: 50 + 0.2 * step for step in range(25, 81, 5)}
    found = timing([{"step": step, "seconds": value} for step, value in seconds.items()], config)
    assert found == pytest.approx((0.275 * 0.1 + 0.725 * 0.2, 0.0))


def test_a_folder_without_a_trial_is_one_line(tmp_path):
    write_config(replace(default_config("weak"), steps=80), tmp_path / "config.json")
    with pytest.raises(UserError, match="metrics.jsonl: found too few entries, expected those of a finished trial$"):
        steps_within(60.0, tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=f"^{tmp_path / 'config.json'}: found package None"):
        steps_within(60.0, tmp_path)


def test_a_budget_that_is_spent_on_preparation_leaves_the_least_steps(tmp_path):
    config = replace(default_config("weak"), steps=80)
    write_config(config, tmp_path / "config.json")
    slow = [entry | {"seconds": entry["seconds"] + 30 * (entry["step"] > 44)} for entry in ENTRIES]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in slow))
    assert steps_within(20.0, tmp_path)["steps"] == LEAST_STEPS
    assert steps_within(40.0, tmp_path)["steps"] in (99, 100)


def test_a_trial_that_fails_fails_all_its_cells(out, monkeypatch):
    grid = grid_of(out, settings=Settings(steps=None, budget=100.01, sequences=16))
    monkeypatch.setenv("STANDIN_FAIL", "vae-mnist")
    outcome, found, _ = run(grid)
    assert sorted(outcome.failed) == ["vae-mnist-seed0", "vae-mnist-seed1"]
    assert found["vae-mnist-seed1"]["reason"] == found["vae-mnist-seed0"]["reason"]
    assert found["weak-mnist-seed0"]["status"] == "done"
    records = Records(out / RESULTS)
    records.put(found["vae-mnist-seed1"] | {"reason": "of long ago"})
    found = run(grid)[1]
    assert found["vae-mnist-seed1"]["reason"] == found["vae-mnist-seed0"]["reason"] != "of long ago"
    monkeypatch.delenv("STANDIN_FAIL")
    assert run(grid)[0].failed == []


def test_threads_reach_the_processes(out):
    (cell,) = grid_of(out, labels=("vae",), seeds=(0,))
    run([cell], launcher=Standin(threads=3))
    assert (cell.run / "starts.txt").read_text() == "--mode threads=3\n"


def test_a_process_that_ignores_sigterm_is_killed_with_what_it_started(tmp_path):
    code = "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    code += "subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)', sys.argv[1]])\n"
    code += "print('ready', flush=True); time.sleep(60)"
    log = tmp_path / "a.log"
    child = Child([sys.executable, "-S", "-c", code, str(tmp_path)], log, dict(os.environ), "stubborn")
    while last_line(log) != "ready":
        time.sleep(0.02)
    stop([child], grace=0.2)
    assert child.poll() == -signal.SIGKILL
    for _ in range(100):
        if not alive(tmp_path):
            break
        time.sleep(0.02)
    assert not alive(tmp_path)


TORN = b'{"cell": "a", "status": "done"}\n{"cell": "b", "status": "fai'


def test_a_torn_last_line_is_removed_and_its_cell_written_again(tmp_path):
    path = tmp_path / RESULTS
    path.write_bytes(TORN)
    records = Records(path)
    assert records.done("a") and not records.done("b") and path.read_bytes() == TORN.splitlines(True)[0]
    records.put({"cell": "b", "status": "failed"})
    records.put({"cell": "b", "status": "done"})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"cell": "a", "status": "done"},
        {"cell": "b", "status": "done"},
    ]


@pytest.mark.parametrize("line", [b"{", b"[1]", b'{"seed": 1}'])
def test_another_damaged_line_is_an_error_that_names_it(tmp_path, line):
    path = tmp_path / RESULTS
    path.write_bytes(b'{"cell": "a"}\n' + line + b"\n")
    with pytest.raises(UserError, match="results.jsonl: line 2: found "):
        Records(path)


def test_a_folder_of_other_settings_is_refused(out):
    prepare(out, SMOKE, FIXED)
    prepare(out, SMOKE, FIXED)
    with pytest.raises(UserError, match="--steps: found 9, expected 8 as in"):
        prepare(out, SMOKE, Settings(9, None, 16))
    with pytest.raises(UserError, match="--data.root: found '/.*/x', expected None"):
        prepare(out, SMOKE, Settings(8, None, 16, root=Path("x")))
    with pytest.raises(UserError, match="found suite 'smoke', expected 'ablations'"):
        prepare(out, SUITES["ablations"], FIXED)
    data = json.loads((out / "suite.json").read_text())
    data["models"]["vae"] = ["--mode", "weak"]
    (out / "suite.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="found other models"):
        prepare(out, SMOKE, FIXED)


def test_a_folder_of_something_else_is_refused(out):
    (out / "thesis.tex").touch()
    with pytest.raises(UserError, match="found files but no suite.json"):
        prepare(out, SMOKE, FIXED)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine": {}}, "found no key 'machine.processor', expected one"),
        ({"curve": True}, "curve: found True, expected a list"),
        ({"metrics": {"error/mean": [1]}}, "metrics.error/mean: found [1], expected "),
        ({"frames": {"hue": ["x"]}}, "frames.hue[0]: found 'x', expected a number or nothing"),
        ({"date": 3}, "date: found 3, expected a text"),
        ({"status": "failed"}, "found no key 'stage', expected one"),
    ],
)
def test_a_line_that_lacks_something_is_named_before_anything_runs(tmp_path, change, message):
    line = line_of(SUITES["mnist-table1"], "weak") | change
    (tmp_path / RESULTS).write_text(json.dumps(line) + "\n")
    with pytest.raises(UserError) as error:
        Records(tmp_path / RESULTS).check()
    assert str(error.value).startswith(f"{tmp_path}/results.jsonl: weak-mnist-seed0: {message}")


def test_a_curve_of_another_form_fails_its_cell(out):
    grid = grid_of(out)
    run(grid)
    path = grid[0].curve
    path.write_text(json.dumps(json.loads(path.read_text()) | {"points": True}))
    (out / RESULTS).unlink()
    outcome, found, _ = run(grid)
    assert outcome.failed == [grid[0].name]
    assert "points: found True, expected a list" in found[grid[0].name]["reason"]
