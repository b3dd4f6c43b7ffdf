"""Starting and resuming a run folder: what has to be there, what is written first, and what may differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from ffrl.config import RunConfig
from ffrl.core.device import environment
from ffrl.core.errors import UserError, memory_lack
from ffrl.core.files import is_empty, remove_leftovers, reporting, to_json, write_atomically
from ffrl.core.reading import read_json_object, shown
from ffrl.data.base import SequenceData
from ffrl.data.contents import Contents
from ffrl.data.findings.finding import Finding
from ffrl.data.inventory import Inventory
from ffrl.data.on_device import where_made
from ffrl.data.spec import DataSpec
from ffrl.models.interface import SequenceModel
from ffrl.storage.checksums import OF_RUN, renew
from ffrl.storage.names import CONFIG, DESCRIPTION, ENVIRONMENT
from ffrl.training.checkpoint import FOLDER, MODEL, checkpoints, clean_checkpoints
from ffrl.training.config_io import FORMAT_VERSION, config_to_dict, encode_config, flat, write_config
from ffrl.training.precision import Precision

Known = TypeVar("Known", Inventory, Contents)
"""What else a run has to know to be loaded: its data's shape and names, and modules of one's own."""
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
    require_run(run)
    with reporting("write", run):
        run.mkdir(parents=True, exist_ok=True)


def require_run(run: Path) -> None:
    """Raise a UserError if a folder is a checkpoint, which is in a run folder.

    Example:
        >>> require_run(Path("runs/demo"))
    """
    if (run / MODEL).is_file() and run.resolve().parent.name == FOLDER:
        found, expected = "a checkpoint", f"its run folder {run.parent.parent}"
        raise UserError(f"{run}: found {found}, expected {expected}")


@dataclass(frozen=True)
class Description:
    """What a run knows of its data and modules.

    Args:
        data: shape, length and names; None of a run that was made before runs knew it.
        modules: class of ``encoder`` and ``decoder`` where they are the user's own.
        recordings: what the data were, where they are a user's own recordings.
        contents: hashes of the data; None where nothing is known of them.
        findings: what looked wrong before training.
    """

    data: DataSpec | None
    modules: dict[str, str]
    recordings: Inventory | None = None
    contents: Contents | None = None
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, data: SequenceData, model: SequenceModel, findings: Sequence[Finding] = ()) -> Description:
        """That of a run of ``model`` on ``data``."""
        made = where_made(data)
        return cls(DataSpec.of(data), model.own_modules, made.inventory, made.contents(), tuple(findings))

    def encoded(self) -> bytes:
        """Contents of the file."""
        beside = {"recordings": self.recordings, "contents": self.contents}
        held: dict[str, Any] = {key: value.plain() for key, value in beside.items() if value is not None}
        held |= {"findings": [one.plain() for one in self.findings]} if self.findings else {}
        return to_json({"data": None if self.data is None else self.data.plain(), "modules": self.modules} | held)

    @classmethod
    def read(cls, run: Path) -> Description:
        """That in a run folder.

        Raises:
            UserError: the file is damaged.
        """
        path = run / DESCRIPTION
        if not path.exists():
            return cls(None, {})
        values = read_json_object(path)
        modules = values.get("modules")
        if not isinstance(modules, dict) or not all(isinstance(name, str) for name in modules.values()):
            raise UserError(f"{path}: modules: found {shown(modules)}, expected names by module")
        recordings = values.get("recordings")
        known = None if recordings is None else Inventory.read(recordings, f"{path}: recordings")
        inside = values.get("contents")
        contents = None if inside is None else Contents.read(inside, f"{path}: contents")
        findings = values.get("findings", [])
        if not isinstance(findings, list):
            raise UserError(f"{path}: findings: found {shown(findings)}, expected a list")
        doubts = tuple(Finding.read(one, f"{path}: findings") for one in findings)
        return cls(DataSpec.read(values.get("data"), f"{path}: data"), modules, known, contents, doubts)


def prepare(run: Path, config: RunConfig, resume: bool, description: Description) -> None:
    """Check that the run in the locked folder ``run`` may start or resume, and write what a start records.

    Raises:
        UserError: a start finds files; a resumption finds no ``config.json``, another configuration, or other data.
    """
    if resume:
        require_same(run / CONFIG, config, longer=True)
        require_same_shape(run, description)
        require_same_data(run, description)
    elif not is_empty(run):
        raise UserError(f"{run}: found files in it, expected a new or empty run folder (or --resume {run})")
    remove_leftovers(run)
    clean_checkpoints(run)
    if not resume or encode_config(config) != (run / CONFIG).read_bytes():
        write_config(config, run / CONFIG)
    known = checkpoints(run)
    if known:  # the next one may be long in coming
        renew(run, known[max(known)], CONFIG)
    begun = (run / DESCRIPTION).exists() or known  # or it was killed between the two files
    if not resume or not begun:
        write_atomically(run / DESCRIPTION, description.encoded())


@contextmanager
def withdrawn_unless_begun(run: Path, begun: Callable[[], bool]) -> Iterator[None]:
    """Take back what :func:`prepare` and others have written, if a run does not fit into memory from the start.

    It can then be started in smaller sizes in the same folder; what ends in another way can be resumed.

    Args:
        run: locked run folder of a start.
        begun: whether there is anything to go on from.
    """
    try:
        yield
    except (MemoryError, RuntimeError, ValueError) as error:
        if memory_lack(error) is not None and not begun():
            for name in OF_RUN:
                with suppress(OSError):
                    (run / name).unlink(missing_ok=True)
        raise


def record_environment(run: Path, device: torch.device, precision: Precision) -> None:
    """Write where the run in the folder ``run`` computes, unless that is known."""
    if not (run / ENVIRONMENT).exists():
        chosen = {"precision": str(precision.dtype).removeprefix("torch."), "bfloat16_speedup": precision.speedup}
        write_atomically(run / ENVIRONMENT, to_json(environment(device) | chosen))


def require_same_data(run: Path, description: Description) -> None:
    """Check that recordings and contents of the data are those that the run in folder ``run`` was started with.

    Raises:
        UserError: some have gone, are new or have changed; or others are held out.
    """
    known = Description.read(run)
    changes = {
        "recordings": _change(known.recordings, description.recordings),
        "data": _change(known.contents, description.contents),
    }
    for what, change in changes.items():
        if change is not None:
            expected = "those that the run was started with; --init goes on from its weights on other data"
            raise UserError(f"{run}: found other {what} ({change}), expected {expected}")


def _change(known: Known | None, found: Known | None) -> str | None:
    return None if known is None or found is None else known.change(found)


def require_same_shape(run: Path, description: Description) -> None:
    """Check that data and modules are those that the run in folder ``run`` describes.

    Raises:
        UserError: shape, T, number of transformations, features or modules differ.
    """
    known = Description.read(run)
    if known.data is None or description.data is None:
        return
    found, expected = (
        {
            "frames of": data.image_shape,
            "features:": ", ".join(data.features.described) if data.features else "none",
            "T =": data.num_steps,
            "transformations:": len(data.transformations),
            "own modules:": ", ".join(sorted(modules)) or "none",
        }
        for data, modules in ((description.data, description.modules), (known.data, known.modules))
    )
    for key, value in expected.items():
        if found[key] != value:
            raise UserError(f"{run}: found {key} {found[key]}, expected {value}, what the run was started with")
    features, before = description.data.features, known.data.features
    if features is not None and before is not None and not features.is_like(before):
        raise UserError(f"{run}: found features with other means or scales, expected the data it was started with")


def require_same(path: Path, config: RunConfig, longer: bool = False) -> None:
    """Check that ``config`` resumes what the ``config.json`` at ``path`` describes.

    Args:
        path: of the file.
        config: of the run that goes on.
        longer: whether it may have more steps.

    Raises:
        UserError: the file cannot be used, or a key differs that is not in :data:`MAY_CHANGE`.
    """
    data = read_json_object(path)
    version = data.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: found format_version {shown(version)}, expected {FORMAT_VERSION}")
    data.pop("package", None)
    stored, wanted = flat(data), flat(config_to_dict(config))
    if None not in (stored.get("data.root"), wanted.get("data.root")):
        stored["data.root"] = wanted["data.root"]
    planned = stored.get("planned-steps") or stored.get("steps")
    if longer and planned == (config.planned_steps or config.steps) and stored["steps"] <= config.steps:
        stored |= {"steps": config.steps, "planned-steps": config.planned_steps}
    for key in sorted(stored.keys() | wanted.keys()):
        if key not in MAY_CHANGE and stored.get(key) != wanted.get(key):
            found, expected = stored.get(key), wanted.get(key)
            raise UserError(f"{path}: found {key} = {shown(found)}, expected {shown(expected)} to resume this run")
