"""The files of runs, benchmarks and data sets that are fuzzed."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache, partial
from pathlib import Path

import h5py
import numpy as np
import torch
from benchmark_tools import line_of
from cli_tools import SEARCH, TINY
from engine_tiny import TinyModel, run_tiny, tiny_config
from fuzz_format import Format

from cli.main import main
from cli.train import configure
from ffrl.config import DataConfig
from ffrl.core.files import to_json
from ffrl.core.reading import read_json_object
from ffrl.core.schema import check
from ffrl.data.digits.idx import read_idx
from ffrl.data.grids.factors import Factors
from ffrl.data.grids.made import MARK, Made, grid_of, mark_of
from ffrl.data.grids.picture_folder import check_label_file
from ffrl.data.shapes3d.file import IMAGE, label_values, open_shapes3d
from ffrl.storage.checksums import CHECKSUMS, verify
from ffrl.storage.names import CONFIG, METRICS
from ffrl.training.checkpoint import MODEL, STATE, STATE_TENSORS, find_checkpoint, load_weights
from ffrl.training.config_io import read_config
from ffrl.training.log import read_metrics
from stf.benchmark.run.lines import Curve, Evaluation
from stf.benchmark.run.records import Records
from stf.benchmark.suites import SUITES
from stf.benchmark.tables.series import error_against_images, error_against_length, error_against_time, measures_of
from stf.benchmark.tables.writing import write_tables
from stf.plot.compute.search_log import read_search
from stf.plot.curves import plot_curve
from stf.registry import CONFIGS
from stf.run import Run


@cache
def trained() -> Path:
    """A finished run of two steps."""
    folder = Path(tempfile.mkdtemp(prefix="stf-fuzz-")) / "run"
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        assert main(["train", "--mode", "unsupervised", "--out", str(folder), *TINY, *SEARCH]) == 0
        run_tiny(folder.with_name("tiny"), tiny_config())
    return folder


def of_run(name: str, folder: Path) -> Path:
    """A file of the run, in a copy of it."""
    shutil.copytree(trained(), folder / "run")
    return folder / "run" / name


def of_checkpoint(name: str, folder: Path) -> Path:
    """A file of its checkpoint."""
    shutil.copytree(trained(), folder / "run")
    return find_checkpoint(folder / "run") / name


def of_tiny(name: str, folder: Path) -> Path:
    """A file of the checkpoint of a run of the tiny model, without its checksums."""
    shutil.copytree(trained().with_name("tiny"), folder / "run")
    (find_checkpoint(folder / "run") / CHECKSUMS).unlink()
    return find_checkpoint(folder / "run") / name


def resume(path: Path) -> None:
    """Go on with a finished run, which reads its state."""
    run_tiny(path.parents[2], tiny_config(), resume=True)


def written(name: str, content: Callable[[], bytes], folder: Path) -> Path:
    """A file with such contents."""
    path = folder / name
    path.write_bytes(content())
    return path


def lines() -> bytes:
    """A few lines of a benchmark."""
    suite = SUITES["mnist-table1"]
    some = [line_of(suite, model.label, number) for model in suite.models[:2] for number in (0, 1)]
    some.append({"cell": "x", "suite": suite.name, "status": "failed", "stage": "train", "code": 1, "reason": "y"})
    return b"".join(json.dumps(line).encode() + b"\n" for line in some)


def read_results(path: Path) -> None:
    """Make the tables and the lines of the plots."""
    records, suite = Records(path), SUITES["mnist-table1"]
    records.check()
    found = list(records.by_cell.values())
    write_tables(suite, found, path.parent)
    done = [line for line in found if line.get("status") == "done" and line.get("suite") == suite.name]
    for panels in (error_against_time, error_against_length, error_against_images) if done else ():
        panels(suite, done)


def read_log(path: Path) -> None:
    """What the report does with the metrics of a run."""
    metrics = read_metrics(path)
    read_search(metrics)
    plot_curve(metrics, "loss")


@cache
def evaluation() -> bytes:
    """What ``stf evaluate --json`` writes."""
    return to_json(Run.open(trained()).evaluate(sequences=4))


def read_evaluation(path: Path) -> None:
    """What a benchmark does with it."""
    found = read_json_object(path)
    check(found, Evaluation, str(path))
    measures_of(found, str(path))


def curve() -> bytes:
    """What a benchmark reads of a training."""
    where = {"threads": 1, "torch": "2", "device": "x", "device_type": "cpu", "precision": "float32"}
    training = {"seconds": 1.0, "frames_per_second": 2.0, "data_share": 0.1, "environment": where}
    return json.dumps({"training": training, "points": [{"step": 1, "seconds": 1, "error": {"mean": 1}}]}).encode()


GRID = Factors(("a", "b"), (2, 3))
SMALL = Factors(("a", "b", "c", "d", "e", "f"), (1, 1, 2, 1, 1, 3))


def labels() -> bytes:
    """Labels of a small grid."""
    buffer, rows = io.BytesIO(), [[i, j / 2] for i in range(2) for j in range(3)]
    np.save(buffer, np.array(rows, dtype=np.float64))
    return buffer.getvalue()


def shapes3d(folder: Path) -> Path:
    """A small file in the layout of Shapes3D."""
    values = label_values(SMALL.sizes)
    digits = SMALL.digits(torch.arange(SMALL.count)).tolist()
    with h5py.File(folder / "3dshapes.h5", "w") as file:
        images = np.zeros((SMALL.count, *IMAGE), np.uint8)
        file.create_dataset("images", data=images, chunks=(2, 16, 16, 3), compression="gzip")
        file["labels"] = np.array(
            [[row[d] for row, d in zip(values, row_digits, strict=True)] for row_digits in digits]
        )
    return folder / "3dshapes.h5"


def read_shapes3d(path: Path) -> None:
    """Read all images."""
    open_shapes3d(path, SMALL).read(torch.arange(SMALL.count))


def idx() -> bytes:
    """Three digits."""
    return struct.pack(">4I", 0x0803, 3, 28, 28) + bytes(3 * 784)


TOML = b'mode = "weak"\nsteps = 12\nbatch-size = 8\n[model]\nlatent-dim = 6\n[data]\nname = "mnist"\nnum-steps = 3\n'

RUNS = {
    "config.json": Format(partial(of_checkpoint, CONFIG), lambda path: Run.open(path.parents[2]), "json", 4),
    "config.json of the run": Format(partial(of_run, CONFIG), lambda path: read_config(path, CONFIGS), "json"),
    "run.json": Format(partial(of_run, "run.json"), lambda path: Run.open(path.parent), "json", 4),
    "checksums.json": Format(
        partial(of_checkpoint, CHECKSUMS), lambda path: list(verify(path.parents[2], path.parent)), "json"
    ),
    "metrics.jsonl": Format(partial(of_run, METRICS), read_log, "lines", 3),
    "results.jsonl": Format(partial(written, "results.jsonl", lines), read_results, "lines", 2),
    "evaluation.json": Format(partial(written, "evaluation.json", evaluation), read_evaluation, "json"),
    "curve.json": Format(
        partial(written, "curve.json", curve), lambda path: check(read_json_object(path), Curve, str(path)), "json"
    ),
    "model.safetensors": Format(
        partial(of_tiny, MODEL), lambda path: load_weights(path.parent, TinyModel()), "tensors"
    ),
    "training_state.json": Format(partial(of_tiny, STATE), resume, "json", 4),
    "training_state.safetensors": Format(partial(of_tiny, STATE_TENSORS), resume, "tensors", 4),
    "preset.toml": Format(
        partial(written, "a.toml", lambda: TOML), lambda path: configure(["--config", str(path)]), "", 2
    ),
    "idx": Format(partial(written, "images", idx), lambda path: read_idx(path, 3)),
    "idx.gz": Format(partial(written, "images.gz", lambda: gzip.compress(idx(), mtime=0)), lambda p: read_idx(p, 3)),
    "labels": Format(partial(written, "a.labels", labels), lambda path: check_label_file(path, GRID)),
    "3dshapes.h5": Format(shapes3d, read_shapes3d),
    "rendered.json": Format(
        partial(written, MARK, lambda: to_json(dict(mark_of(Made((2, 3), 64))))),
        lambda path: grid_of(DataConfig(root=path.parent), GRID),
        "json",
    ),
}
"""By name."""
