"""Trained models that come with the package, each in one file of weights at half precision."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save

from ffrl.core.errors import UserError, require
from ffrl.core.files import is_empty, reporting, write_atomically
from ffrl.core.reading import json_object, read_json_object
from ffrl.data.digits.assets import asset
from ffrl.storage.checksums import CHECKSUMS, checksums
from ffrl.storage.names import CONFIG, DESCRIPTION, METRICS
from ffrl.storage.tensors import encode_tensors, read_tensors
from ffrl.training.checkpoint import FOLDER, MODEL, find_checkpoint
from ffrl.training.config_io import config_from_dict, encode_config
from ffrl.training.log import read_metrics
from stf.registry import CONFIGS

if TYPE_CHECKING:
    from ffrl.models.interface import SequenceModel

PREFIX = "example:"
"""What the name of an example begins with where a run could stand."""
STEM, SUFFIX = "example-", ".safetensors"
VALUES, ACTIVITY = "sequences.values", "sequences.activity"
"""Vectors, and their true activity, that come with an example of data that nobody can render."""
SEQUENCES = "sequences.npz"
HEAD = ("package", "format_version")
"""What a ``config.json`` has besides the configuration."""


def names() -> list[str]:
    """The examples there are.

    Example:
        >>> all(isinstance(name, str) for name in names())
        True
    """
    folder = resources.files("ffrl.assets")
    found = [file.name for file in folder.iterdir() if file.name.startswith(STEM) and file.name.endswith(SUFFIX)]
    return sorted(name.removeprefix(STEM).removesuffix(SUFFIX) for name in found)


def load_example(name: str, out: str | Path) -> Path:
    """Write an example as a run folder, which every command and :meth:`stf.Run.open` take.

    Args:
        name: one of :func:`names`.
        out: folder, new or empty.

    Returns:
        ``out``.

    Raises:
        UserError: there is no such example, or the folder has files in it or cannot be written.
    """
    require(name in names(), "example", name, f"one of {', '.join(names())}")
    out = Path(out)
    with reporting("write", out):
        out.mkdir(parents=True, exist_ok=True)
        require(is_empty(out), str(out), "files in it", "a new or empty folder")
    path = Path(str(asset(f"{STEM}{name}{SUFFIX}")))
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    tensors = {
        key: tensor.float() if tensor.dtype == torch.float16 else tensor for key, tensor in read_tensors(path).items()
    }
    values, described = (json_object(about[key].encode(), f"{path}: {key}") for key in ("config", "description"))
    mode = CONFIGS[values["mode"]]
    config = config_from_dict(mode, values, str(path), base=mode())  # keys that came later have their defaults
    if VALUES in tensors:
        write_vectors(tensors.pop(VALUES), tensors.pop(ACTIVITY), described, out / SEQUENCES)
        config = replace(config, data=replace(config.data, root=(out / SEQUENCES).resolve()))
    checkpoint = out / FOLDER / f"step-{int(about['step']):08d}"
    with reporting("write", checkpoint):
        checkpoint.mkdir(parents=True)
    of_run = {
        DESCRIPTION: about["description"].encode(),
        METRICS: about["metrics"].encode(),
        CONFIG: encode_config(config),
    }
    for file_name, content in of_run.items():
        write_atomically(out / file_name, content)
    files = {MODEL: encode_tensors(tensors), CONFIG: encode_config(config)}
    files[CHECKSUMS] = checksums(out, files)
    for file_name, content in files.items():
        write_atomically(checkpoint / file_name, content)
    return out


def example(text: str) -> SequenceModel:
    """The model of ``example:NAME``, in evaluation mode.

    Raises:
        UserError: there is no such example.
    """
    from stf.run import Run

    with TemporaryDirectory() as folder:
        return Run.open(load_example(text.removeprefix(PREFIX), Path(folder, "run"))).model


def pack(run: Path, name: str, folder: Path, values: Any = None, activity: Any = None) -> Path:
    """Make an example of a run: its newest weights at half precision, and what else a run knows.

    Args:
        run: run folder.
        name: of the example, letters and hyphens.
        folder: where its file goes.
        values, activity: sequences of vectors, ``(N, T+1, F)`` and ``(N, T, J)``, where the data cannot be rendered.

    Returns:
        The file.

    Raises:
        UserError: the run cannot be read, or the name is of other characters.
    """
    require(re.fullmatch("[a-z0-9-]+", name) is not None, "example", name, "small letters, digits and hyphens")
    checkpoint = find_checkpoint(run)
    tensors = {
        key: tensor.half() if tensor.dtype == torch.float32 else tensor
        for key, tensor in read_tensors(checkpoint / MODEL).items()
    }
    if values is not None:
        tensors |= {VALUES: torch.as_tensor(values).half(), ACTIVITY: torch.as_tensor(activity).half()}
    entries = read_metrics(run / METRICS)
    kept = [entry for entry in entries if "search" in entry] + entries[-2:]
    config = {key: value for key, value in read_json_object(run / CONFIG).items() if key not in HEAD}
    config["out"] = config["data"]["root"] = None
    about = {
        "config": json.dumps(config),
        "description": json.dumps(read_json_object(run / DESCRIPTION)),
        "metrics": "".join(json.dumps(entry) + "\n" for entry in kept),
        "step": str(int(checkpoint.name.rpartition("-")[2])),
    }
    path = folder / f"{STEM}{name}{SUFFIX}"
    write_atomically(path, save(tensors, metadata=about))
    return path


def write_vectors(values: torch.Tensor, activity: torch.Tensor, description: dict[str, Any], path: Path) -> None:
    """Write the sequences of an example as ``--data.name vectors`` reads them."""
    data = description["data"]
    if data is None or "features" not in data:
        raise UserError(f"{path.name}: found no features, expected those of vectors")
    with reporting("write", path):
        np.savez(
            path,
            values=values.double().numpy(),
            activity=activity.double().numpy(),
            features=np.array([feature["name"] for feature in data["features"]["each"]]),
            transformations=np.array(data["transformations"]),
        )
