"""Starting and resuming a run folder: emptiness, ``config.json``, ``environment.json`` and what may differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ffrl.core.device import environment
from ffrl.core.errors import UserError
from ffrl.core.files import is_empty, read_json_object, remove_leftovers, reporting, to_json, write_atomically
from ffrl.training.checkpoint import CONFIG, clean_checkpoints
from ffrl.training.config_io import FORMAT_VERSION, config_to_dict, flat, write_config

ENVIRONMENT = "environment.json"
MAY_CHANGE = frozenset(
    ("out", "device", "precision", "deterministic", "compile", "tensorboard", "data.download")
    + ("checkpoint-every", "keep-checkpoints", "validate-every", "log-every")
)
"""Keys that a resumed run may be given anew, because they change neither the model nor what it is trained on.

``data.root`` may be another folder, as data move, but not appear or vanish.
"""


def open_folder(run: Path, resume: bool) -> None:
    """Create the folder ``run`` with its parents unless it is there; a resumption wants it to be there.

    Raises:
        UserError: it cannot be created, or there is nothing to resume.
    """
    if resume and not run.is_dir():
        raise UserError(f"{run}: found no folder, expected a run folder to resume")
    with reporting("write", run):
        run.mkdir(parents=True, exist_ok=True)


def prepare(run: Path, config: Any, resume: bool, device: torch.device, precision: torch.dtype) -> None:
    """Check that the run in the locked folder ``run`` may start or resume, and write what a start records.

    Raises:
        UserError: a start finds files; a resumption finds no ``config.json`` or another configuration.
    """
    if resume:
        require_same(run / CONFIG, config)
    elif not is_empty(run):
        raise UserError(f"{run}: found files in it, expected a new or empty run folder (or --resume {run})")
    remove_leftovers(run)
    clean_checkpoints(run)
    if not resume:
        write_config(config, run / CONFIG)
    if not (run / ENVIRONMENT).exists():
        write_atomically(run / ENVIRONMENT, to_json(environment(device, precision)))


def require_same(path: Path, config: Any) -> None:
    """Check that ``config`` resumes what the ``config.json`` at ``path`` describes.

    Raises:
        UserError: the file cannot be used, or a key differs that is not in :data:`MAY_CHANGE`.
    """
    data = read_json_object(path)
    version = data.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: found format_version {version!r}, expected {FORMAT_VERSION}")
    data.pop("package", None)
    stored, wanted = flat(data), flat(config_to_dict(config))
    if None not in (stored.get("data.root"), wanted.get("data.root")):
        stored["data.root"] = wanted["data.root"]
    for key in sorted(stored.keys() | wanted.keys()):
        if key not in MAY_CHANGE and stored.get(key) != wanted.get(key):
            found, expected = stored.get(key), wanted.get(key)
            raise UserError(f"{path}: found {key} = {found!r}, expected {expected!r} to resume this run")
