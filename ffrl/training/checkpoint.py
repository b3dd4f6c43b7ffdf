"""Checkpoints: ``checkpoints/step-XXXXXXXX/{model.safetensors, config.json, training_state.*, checksums.json}``.

Tensors are safetensors files and everything else is JSON, so nothing that is loaded can execute code.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ffrl.core.errors import UserError
from ffrl.core.files import (
    TEMPORARY,
    fsync_folder,
    move,
    remove_leftovers,
    reporting,
    require_own,
    to_json,
    write_durably,
)
from ffrl.core.reading import read_json_object, shown
from ffrl.storage.checksums import CHECKSUMS, checksums, require_unchanged
from ffrl.storage.names import CONFIG
from ffrl.storage.tensors import encode_tensors, read_header, read_tensors, require_alike, require_finite

FOLDER = "checkpoints"
MODEL = "model.safetensors"
STATE_TENSORS, STATE = "training_state.safetensors", "training_state.json"
STATE_VERSION = 1
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam keeps of every parameter that it has updated."""
_NAME = re.compile(r"step-(\d{8,15})", re.ASCII)


class TrainingState(NamedTuple):
    """What a run needs beside the weights to go on: named tensors and named numbers, among them ``step``."""

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


def checkpoints(run: Path) -> dict[int, Path]:
    """Return the checkpoints of a run folder, step to folder, oldest first; leftovers of killed writers are ignored."""
    folder = run / FOLDER
    if not folder.is_dir():
        return {}
    with reporting("read", folder):
        matches = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return dict(sorted((int(match[1]), path) for match, path in matches if match and path.is_dir()))


def find_checkpoint(run: Path, step: int | None = None) -> Path:
    """Return the folder of the checkpoint at ``step``, the newest one for None.

    Raises:
        UserError: there is no run, no checkpoint, or none at that step.
    """
    if not run.is_dir():
        raise UserError(f"{run}: found no folder, expected a run folder")
    found = checkpoints(run)
    if not found:
        raise UserError(f"{run / FOLDER}: found no checkpoint, expected a folder like step-00000100")
    if step is None:
        step = max(found)
    if step not in found:
        known = ", ".join(map(str, found))
        raise UserError(f"{run / FOLDER}: found no checkpoint of step {step}, expected one of {known}")
    return found[step]


def checkpoint_step(checkpoint: Path) -> int:
    """Return the step of a checkpoint from the name of its folder.

    Example:
        >>> checkpoint_step(Path("run/checkpoints/step-00000100"))
        100
    """
    match = _NAME.fullmatch(checkpoint.name)
    if match is None:
        raise ValueError(f"{checkpoint}: not the folder of a checkpoint")
    return int(match[1])


def load_weights(checkpoint: Path, model: nn.Module) -> None:
    """Load ``model.safetensors`` of a checkpoint folder into ``model``, in place and strictly.

    Raises:
        UserError: damaged, not what its checksum says, not finite, or the first tensor that is missing, unexpected, or
            of another shape or type.
    """
    path = checkpoint / MODEL
    found, own = read_header(path), model.state_dict()
    for name, expected in own.items():
        if name not in found:
            raise UserError(f"{path}: found no tensor {name!r}, expected the one of this model")
        require_alike(path, name, found[name], expected)
    for name in found:
        if name not in own:
            raise UserError(f"{path}: found tensor {shown(name)}, which this model does not have")
    tensors = read_tensors(path)
    require_finite(path, tensors)
    require_unchanged(checkpoint, MODEL)
    model.load_state_dict(tensors)


def load_training_state(checkpoint: Path) -> TrainingState:
    """Read ``training_state.*`` of a checkpoint folder.

    Raises:
        UserError: missing, damaged, not finite, of another format version or of another step than the folder's name.
    """
    path = checkpoint / STATE
    numbers = read_json_object(path)
    version, match = numbers.get("format_version"), _NAME.fullmatch(checkpoint.name)
    if version != STATE_VERSION:
        raise UserError(f"{path}: found format_version {shown(version)}, expected {STATE_VERSION}")
    if match is None or numbers.get("step") != int(match[1]):
        raise UserError(f"{path}: found step {shown(numbers.get('step'))}, expected that of {checkpoint.name}")
    tensors = read_tensors(checkpoint / STATE_TENSORS)
    require_finite(checkpoint / STATE_TENSORS, tensors)
    return TrainingState(tensors, numbers)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as ``optimizer/<entry>/<parameter>``; parameters never updated have none."""
    return {
        f"optimizer/{entry}/{name}": tensor
        for name, parameter in model.named_parameters()
        for entry, tensor in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(path: Path, tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the tensors of :func:`optimizer_tensors` back; ``path`` is named in messages.

    Raises:
        UserError: an entry of a parameter that the model lacks, or of another shape.
    """
    parameters = dict(model.named_parameters())
    entries: dict[str, set[str]] = {}
    for key, tensor in tensors.items():
        if not key.startswith("optimizer/"):
            continue
        _, entry, name = (*key.split("/", 2), "", "")[:3]
        if name not in parameters or entry not in MOMENTS:
            raise UserError(f"{path}: found {shown(key)}, of a parameter which this model does not have")
        parameter = parameters[name]
        require_alike(path, key, tensor, tensor.new_zeros(()) if entry == "step" else parameter)
        optimizer.state[parameter][entry] = tensor.to(parameter.device, copy=True)
        entries.setdefault(name, set()).add(entry)
    for name, own in entries.items():
        for entry in MOMENTS:
            if entry not in own:
                raise UserError(f"{path}: found no tensor {f'optimizer/{entry}/{name}'!r}, expected one")


def save_checkpoint(run: Path, model: nn.Module, config: bytes, state: TrainingState, keep: int) -> Path:
    """Write a checkpoint and keep the newest ``keep``; it appears complete or not at all.

    Args:
        run: Run folder.
        model: The model whose ``state_dict`` is saved.
        config: Contents of its ``config.json``.
        state: What the trainer needs to go on; ``state.numbers["step"]`` names the folder.
        keep: How many of the newest checkpoints stay.

    Raises:
        UserError: it cannot be written; earlier checkpoints are intact.

    Example:
        >>> import tempfile
        >>> model, state = nn.Linear(2, 3), TrainingState({}, {"step": 7})
        >>> with tempfile.TemporaryDirectory() as run:
        ...     path = save_checkpoint(Path(run), model, b"{}", state, keep=3)
        ...     load_weights(find_checkpoint(Path(run)), nn.Linear(2, 3))
        ...     path.name
        'step-00000007'
    """
    step = state.numbers["step"]
    folder = run / FOLDER
    target = folder / f"step-{step:08d}"
    temporary = folder / f"{TEMPORARY}{target.name}-{os.getpid()}"
    require_own(folder)
    files = {
        MODEL: encode_tensors(model.state_dict()),
        CONFIG: config,
        STATE_TENSORS: encode_tensors(state.tensors),
        STATE: to_json({"format_version": STATE_VERSION, **state.numbers}),
    }
    files[CHECKSUMS] = checksums(run, files)
    with reporting("write", target):
        try:
            folder.mkdir(exist_ok=True)  # a run folder that has gone is not made anew
            temporary.mkdir()
            for name, content in files.items():
                write_durably(temporary / name, content)
            fsync_folder(temporary)
            if target.exists():
                _remove(target)
            move(temporary, target)
            fsync_folder(folder)
        except BaseException:
            with suppress(OSError):
                shutil.rmtree(temporary)
            raise
    with reporting("remove an old checkpoint in", folder):
        for old in list(checkpoints(run).values())[:-keep]:
            _remove(old)
    return target


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint; it disappears at once, under its own name it is never incomplete."""
    doomed = checkpoint.with_name(f"{TEMPORARY}old-{checkpoint.name}-{os.getpid()}")
    move(checkpoint, doomed)
    shutil.rmtree(doomed)


def clean_checkpoints(run: Path) -> None:
    """Remove what killed writers left among the checkpoints."""
    remove_leftovers(run / FOLDER)
