"""Cells as jobs of submitit: exit codes, logs, ending them, a benchmark that is killed, and what Slurm is told."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmark_tools import Standin, alive
from cli_tools import complaint

from cli.main import main
from ffrl.core.errors import UserError
from stf.benchmark.run.jobs import ASKED, Submitter, end_leftovers, run_command
from stf.benchmark.run.process import Child, last_line, stop

submitit = pytest.importorskip("submitit")
SAVES = """
import signal, subprocess, sys, time
subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)", sys.argv[1]])
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(143)))
print("ready", flush=True)
time.sleep(60)
"""
STUBBORN = SAVES.replace('lambda *_: (print("saved", flush=True), sys.exit(143))', "signal.SIG_IGN")


def submit(folder, code, *, wait_for=None, **variables):
    """Submit Python code as a job of this machine; return it and its log."""
    log = folder / "logs/a.log"
    command = [sys.executable, "-S", "-c", code, str(folder)]
    job = Submitter("local", folder / "jobs")(command, log, Standin().environment() | variables, "shown")
    while wait_for and not (log.exists() and last_line(log) == wait_for):
        time.sleep(0.02)
    return job, log


def vanish(folder):
    """Wait until nothing works in a folder any more; tell whether it came to that."""
    end = time.monotonic() + 60
    while alive(folder) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(folder)


def test_a_job_has_the_exit_code_the_log_and_the_environment_of_its_command(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['NAME']); raise SystemExit('no space')"
    job, log = submit(tmp_path, code, NAME="value")
    assert "NAME" not in os.environ and job.poll() is None
    job.wait(30)
    assert job.poll() == 1 and log.read_text() == "$ shown\n5 value\nno space\n"
    assert not list(tmp_path.glob(f"jobs/*/{ASKED}"))


@pytest.mark.parametrize(("code", "grace", "expected"), [(SAVES, 30, 143), (STUBBORN, 0.2, -signal.SIGKILL)])
def test_stop_ends_a_job_and_what_it_started(tmp_path, code, grace, expected):
    job, log = submit(tmp_path, code, wait_for="ready")
    stop([job], grace)
    job.wait(30)
    assert job.poll() == expected and vanish(tmp_path)
    assert last_line(log) == ("saved" if expected == 143 else "ready")


def test_what_a_cluster_sends_before_the_time_is_up_is_sigterm_for_the_command(tmp_path):
    code = SAVES.replace('print("ready"', "import os; print(os.getppid()")
    job, log = submit(tmp_path, code)
    while not (log.exists() and last_line(log).isdecimal()):
        time.sleep(0.02)
    os.kill(int(last_line(log)), signal.SIGUSR2)
    job.wait(30)
    assert job.poll() == 143 and last_line(log) == "saved"


def test_a_job_that_has_not_begun_does_not_begin(tmp_path):
    job, log = submit(tmp_path, SAVES)
    stop([job], 30)
    assert job.poll() == -signal.SIGTERM and not log.exists()


def test_a_job_without_a_result_counts_as_killed_and_its_log_says_so(tmp_path):
    job, log = submit(tmp_path, "import os, time; print(os.getppid(), flush=True); time.sleep(3)")
    while not (log.exists() and last_line(log).isdecimal()):
        time.sleep(0.02)
    os.kill(int(last_line(log)), signal.SIGKILL)
    job.wait(30)
    assert job.poll() == -signal.SIGKILL and "has ended without an exit code" in last_line(log)


def test_what_a_killed_benchmark_has_left_is_ended(tmp_path):
    _, log = submit(tmp_path, SAVES, wait_for="ready")
    end_leftovers(tmp_path / "jobs")
    assert last_line(log) == "saved" and vanish(tmp_path) and not list(tmp_path.glob(f"jobs/*/{ASKED}"))
    end_leftovers(tmp_path / "nowhere")


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """A folder of its own, commands that take no time, and no plots."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stf.benchmark.run.process.Launcher", lambda main, threads: Standin(threads=threads))
    monkeypatch.setattr("stf.benchmark.tables.plots.write_plots", lambda suite, lines, out: [])
    monkeypatch.setattr("cli.benchmark._require_sequences", lambda grid: None)
    return tmp_path


def benchmark(*arguments):
    """Start ``stf benchmark`` in a process group of its own."""

    def run():
        os.setpgrp()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.exit(main(["benchmark", "smoke", "--executor", "local", *arguments]))

    process = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    process.start()
    return process


def code_of(process):
    """Wait for the end of a benchmark and return its exit code."""
    process.join(120)
    return process.exitcode


def results(out):
    """Status of the cells, by name."""
    return {line["cell"]: line["status"] for line in map(json.loads, (out / "results.jsonl").read_text().splitlines())}


@pytest.mark.parametrize("seed", [0])
def test_a_grid_that_is_killed_twice_is_complete_in_the_end(quick, monkeypatch, seed):
    arguments = ["--only", "vae,weak", "--seeds", "0,1,2,3,4,5", "--jobs", "3", "--out", str(quick / "out")]
    whole = ["vae-mnist-seed0", *(f"{model}-mnist-seed{number}" for model in ("vae", "weak") for number in range(1, 6))]
    monkeypatch.setenv("STANDIN_WHOLE", ",".join(whole))
    moments = random.Random(seed)
    for _ in range(2):
        before = len(list(quick.glob("out/jobs/*")))
        process = benchmark(*arguments)
        while len(list(quick.glob("out/jobs/*"))) == before:
            time.sleep(0.02)
        process.join(moments.uniform(0, 1.5))
        process.kill()
        assert code_of(process) == -signal.SIGKILL
    assert code_of(benchmark(*arguments)) == 0
    found = results(quick / "out")
    assert len(found) == 12 and set(found.values()) == {"done"}
    assert len((quick / "out/results.jsonl").read_text().splitlines()) == 12 and vanish(quick)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_process_group_ends_jobs_gently(quick, monkeypatch, number):
    arguments = ["--only", "vae", "--seeds", "0", "--out", str(quick / "out")]
    run = quick / "out/runs/vae-mnist-seed0"
    monkeypatch.setenv("STANDIN_HANG", run.name)
    process = benchmark(*arguments)
    while not (run / "hangs").exists():
        time.sleep(0.02)
    os.killpg(process.pid, number)
    assert code_of(process) == 128 + number and vanish(quick) and not (quick / "out/results.jsonl").exists()
    assert (run / "hangs").read_text() == "saved"
    monkeypatch.delenv("STANDIN_HANG")
    assert code_of(benchmark(*arguments)) == 0 and results(quick / "out") == {run.name: "done"}
    assert [line.split()[0] for line in (run / "starts.txt").read_text().splitlines()] == ["--mode", "--resume"]


# Slurm, by a stand-in


class Executor:
    """Stands in for ``submitit.AutoExecutor``: runs the command at once."""

    told = {}

    def __init__(self, folder, cluster):
        assert Path(folder).is_dir() and cluster == "slurm"

    def update_parameters(self, **parameters):
        self.told.clear()
        self.told.update(parameters)

    def submit(self, function, command, log, shown, folder, changes):
        assert function is run_command and changes == {}, "what a cluster says of devices stays"
        child = Child(command, log, dict(os.environ), shown)
        child.wait(60)
        return SimpleNamespace(done=lambda: True, result=child.poll, job_id="7")


@pytest.fixture
def slurm(monkeypatch):
    """A machine that seems to submit to Slurm."""
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(submitit, "AutoExecutor", Executor)


def test_flags_reach_slurm(quick, slurm, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    flags = ["--slurm.partition=long", "--slurm.minutes=5", "--slurm.cpus=2", "--slurm.gpus=1", "--device=cuda"]
    assert main(["benchmark", "smoke", "--only=vae", "--jobs=2", "--executor=slurm", "--out=out", *flags]) == 0
    shared = {"name": "vae-mnist-seed0", "timeout_min": 5, "cpus_per_task": 2, "gpus_per_node": 1}
    assert Executor.told == shared | {"slurm_partition": "long"}
    assert results(Path("out")) == {"vae-mnist-seed0": "done"}
    assert Path("out/runs/vae-mnist-seed0/starts.txt").read_text() == "--mode threads=2\n"


def test_a_job_that_waits_for_slurm_is_cancelled(tmp_path, slurm, monkeypatch):
    cancelled = []
    job = SimpleNamespace(done=lambda: False, cancel=lambda check: cancelled.append(check), job_id="7")
    monkeypatch.setattr(Executor, "submit", lambda *_: job)
    submitted = Submitter("slurm", tmp_path / "jobs")(["a"], tmp_path / "a.log", {}, "a")
    assert Executor.told == {"name": "a", "timeout_min": 24 * 60}
    stop([submitted])
    assert submitted.poll() == -signal.SIGTERM and cancelled == [False]


def test_a_job_that_slurm_refuses_is_one_line(tmp_path, slurm, monkeypatch):
    def refuse(*_):
        raise RuntimeError("sbatch: error: invalid partition\n")

    monkeypatch.setattr(Executor, "submit", refuse)
    with pytest.raises(UserError, match="^cannot submit a job: sbatch: error: invalid partition$"):
        Submitter("slurm", tmp_path / "jobs")(["a"], tmp_path / "a.log", {}, "a")


def test_a_machine_without_slurm_or_submitit_is_one_line_and_leaves_nothing(capsys, quick, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    line = complaint(capsys, "benchmark", "smoke", "--executor", "slurm")
    assert line == "--executor: found 'slurm' and no sbatch, expected a machine that submits to Slurm"
    monkeypatch.setitem(sys.modules, "submitit", None)
    line = complaint(capsys, "benchmark", "smoke", "--executor", "local")
    expected = "'processes', or submitit (pip install 'sparse-transformation-flow[cluster]')"
    assert line == f"--executor: found 'local', expected {expected}"
    assert not list(quick.iterdir())
