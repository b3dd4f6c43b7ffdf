"""Stands in for ``stf`` and for the measurement of curves in tests: writes the files that they write, at once.

STANDIN_FAIL names cells whose training fails, STANDIN_HANG cells that hang until they are stopped, STANDIN_INTERRUPT as
``cell=number`` one of these that sends the benchmark a signal, STANDIN_WHOLE cells whose training writes what measuring
it writes, too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

OTHERS = (20, 0.01, 0.0), (80, 0.05, 5.0)
"""Last step of every phase, seconds of one of its steps, and those before its first one."""
SEARCHING = (44, 0.01, 0.0), (52, 0.02, 4.0), (56, 0.05, 0.0), (70, 0.02, 4.0), (76, 0.05, 0.0), (80, 0.02, 0.0)
"""The same of modes that search for fields, twice."""


def flag(arguments: list[str], name: str) -> str | None:
    """The value of a flag."""
    return arguments[arguments.index(name) + 1] if name in arguments else None


def write(path: Path, text: str) -> None:
    """Write a file in one move."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    temporary.write_text(text)
    temporary.replace(path)


def train(arguments: list[str]) -> int:
    """Write a checkpoint; a resumed training finds its steps in ``config.json``."""
    resumed = flag(arguments, "--resume")
    run = Path(resumed or flag(arguments, "--out"))
    if not resumed:
        config = json.loads(Path(sys.argv[1]).read_text())[flag(arguments, "--mode")]
        config |= {"steps": int(flag(arguments, "--steps")), "seed": int(flag(arguments, "--seed"))}
        run.mkdir(parents=True, exist_ok=True)
        write(run / "config.json", json.dumps(config))
    with open(run / "starts.txt", "a") as file:
        file.write(f"{arguments[0]} threads={os.environ.get('OMP_NUM_THREADS')}\n")
    print("training", run.name, flush=True)
    config = json.loads((run / "config.json").read_text())
    step, spent, entries = 0, 9.0, []
    for last, each, once in SEARCHING if config.get("mode") in ("weak", "unsupervised") else OTHERS:
        spent += once
        while step < last:
            step, spent = step + 1, spent + each
            entries.append({"step": step, "seconds": spent})
    (run / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    if run.name in os.environ.get("STANDIN_FAIL", "").split(","):
        print("stf: error: on purpose", file=sys.stderr)
        return 2
    if run.name in os.environ.get("STANDIN_HANG", "").split(","):
        signal.signal(signal.SIGTERM, lambda *_: ((run / "hangs").write_text("saved"), sys.exit(143)))
        write(run / "hangs", "")
        name, _, number = os.environ.get("STANDIN_INTERRUPT", "").partition("=")
        if run.name == name:
            os.kill(os.getppid(), int(number))
        time.sleep(60)
    if run.name in os.environ.get("STANDIN_WHOLE", "").split(","):
        evaluate([str(run), "--json", str(run / "evaluation.json"), "--sequences", "16"])
        curve([str(run)])
    (run / "checkpoints" / f"step-{config['steps']:08d}").mkdir(parents=True)
    return 0


def evaluate(arguments: list[str]) -> int:
    """Write an evaluation whose errors depend on the seed alone."""
    run, file = Path(arguments[0]), Path(flag(arguments, "--json"))
    seed = json.loads((run / "config.json").read_text())["seed"]
    one = {"seven_step_sum": {"mean": 100.0 + seed, "standard_error": 1.0}, "per_frame": {"mean": [0.0, 1.0, 2.0]}}
    kinds = dict.fromkeys(("flow", "reconstruction", "copy"), one)
    data = {"name": "mnist", "title": "MNIST", "protocol": "ffrl", "num_steps": 8}
    model = {"parameters": 7, "prediction": "guessing"}
    equivariance = dict.fromkeys(("scaling", "rotation", "hue"), kinds)
    sequences = int(flag(arguments, "--sequences"))
    write(file, json.dumps({"data": data, "model": model, "sequences": sequences, "equivariance": equivariance}))
    return 0


def curve(arguments: list[str]) -> int:
    """Write a curve of one point."""
    environment = {"threads": 1, "torch": "2", "device": "x", "device_type": "cpu", "precision": "float32"}
    training = {"seconds": 4.0, "frames_per_second": 10.0, "data_share": 0.5, "environment": environment}
    points = [{"step": 8, "seconds": 4.0, "error": {"mean": 100.0}}]
    write(Path(arguments[0], "curve.json"), json.dumps({"training": training, "points": points}))
    return 0


if __name__ == "__main__":
    command, *rest = sys.argv[2:]
    sys.exit({"train": train, "evaluate": evaluate, "curve": curve}[command](rest))
