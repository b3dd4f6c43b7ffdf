"""From a run and what a user names to the files of a transfer."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ffrl.config import ClipsConfig, DataConfig
from ffrl.core.device import flush_denormals
from ffrl.core.errors import UserError
from ffrl.core.evaluation_mode import evaluation_mode
from ffrl.core.files import (
    PACKAGE,
    TEMPORARY,
    fsync_folder,
    is_empty,
    move,
    reporting,
    require_inside,
    to_json,
    write_atomically,
)
from ffrl.core.reading import read_json_object
from ffrl.data.base import SequenceData, Split
from ffrl.data.recordings.read import GreyAs
from ffrl.data.synthesis.states import moved, renderable
from ffrl.evaluation.matching import strongest_part
from ffrl.models.frame_kind import Changes, FrameKind
from ffrl.models.interface import SequenceModel
from ffrl.training.config_io import FORMAT_VERSION, config_to_dict
from stf.plot.compute.assignment import assign
from stf.plot.compute.certainty import Certainty, certainty, per_field
from stf.plot.compute.pictures import pictures
from stf.plot.compute.roles import FieldRole, listed
from stf.plot.drawing.animation import write_animation
from stf.plot.drawing.style import house_style, save
from stf.run import Run
from stf.transfer.algebra import apply, edit, followed_by, parts_for, together_with
from stf.transfer.animation import animate, durations
from stf.transfer.figure import Transfer, draw_transfer
from stf.transfer.sources import SPEEDS, Source, Sources

ACTIVITY, FRAMES, FIGURE, ANIMATION = "activity.json", "frames.npy", "transfer.png", "transfer.gif"
KIND = "transfer"
Join = Literal["then", "and"]


@dataclass(frozen=True)
class Request:
    """What a user asks for; see ``stf transfer --help``.

    Args:
        source: names the sequence, see :meth:`stf.transfer.sources.Sources.sequence`; the run's data for None.
        to: names the images, see :meth:`stf.transfer.sources.Sources.images`; the run's data for None.
        then: names a second sequence that follows the first.
        plus: names a second sequence that runs at the same time.
        without: fields to switch off, by number or transformation, separated by commas or spaces.
        scale: factor of all speeds.
        reverse: whether to run everything backwards.
        grey_as, reading: see :class:`stf.transfer.sources.Sources`.
        split: part of the data that images are taken from.
        seed: of everything that is not named.
    """

    source: str | None = None
    to: str | None = None
    then: str | None = None
    plus: str | None = None
    without: str | None = None
    scale: float = 1.0
    reverse: bool = False
    grey_as: GreyAs | None = None
    reading: ClipsConfig | None = None
    split: Split = "validation"
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """Where the files are, and what was found, line by line."""

    folder: Path
    lines: list[str]


@house_style()
def run(
    run_dir: str | Path,
    request: Request = Request(),
    out: Path | None = None,
    data_root: Path | None = None,
    device: str = "auto",
) -> Result:
    """Infer the activity of a sequence, apply it to other images, and write what comes of it into a folder.

    ``activity.json`` has the speeds that were applied, of which field, and where they are from; it can be transferred
    from itself. ``frames.npy`` has the images moved and decoded, ``(N, T+1, C, H, W)`` float32 in [0, 1];
    ``transfer.png`` and ``transfer.gif`` show them.

    Args:
        run_dir: run folder.
        request: what is wanted.
        out: folder for the files, new, empty or from an earlier transfer; ``run_dir / "transfer"`` for None.
        data_root: folder of the run's data; the one that the run was trained on for None.
        device: where to compute.

    Raises:
        UserError: the run, its data, or anything that the request names cannot be used, or ``out`` cannot be written.

    Example:
        >>> run("runs/demo", Request(scale=1.5))  # doctest: +SKIP
    """
    flush_denormals()
    out = Path(run_dir) / "transfer" if out is None else out
    require_inside(Path(run_dir), out)
    _require_writable(out, request)
    opened = Run.open(run_dir, device=device)
    opened.require_fields()
    model = opened.model
    with evaluation_mode(model):
        transfer, controls, roles, names = compute(
            model, opened.config.data, _loader(opened, data_root), request, data_root is not None
        )
    record = _record(transfer, controls, roles, request, str(run_dir), model.trained.mode)
    shown = _pictured(transfer, model.frame_kind)
    with _staged(out) as stage:
        save(draw_transfer(shown, roles, names), stage / FIGURE)
        frames = animate(shown, roles, names)
        write_animation(frames, stage / ANIMATION, durations(len(frames)))
        buffer = BytesIO()
        np.save(buffer, transfer.frames.numpy(), allow_pickle=False)
        write_atomically(stage / FRAMES, buffer.getvalue())
        write_atomically(stage / ACTIVITY, to_json(record))
    return Result(out, _lines(transfer, record))


def compute(
    model: SequenceModel,
    config: DataConfig,
    data: Callable[[], SequenceData],
    request: Request,
    data_needed: bool = False,
) -> tuple[Transfer, Tensor, list[FieldRole], tuple[str, ...]]:
    """Return the transfer, the activity ``(T, C)`` it applied, the roles of all fields, and the transformations.

    Args:
        model: in evaluation mode.
        config: of the run's data.
        data: returns the run's data.
        request: what is wanted.
        data_needed: whether data that cannot be read are an error even if nothing is taken from them; otherwise the
            roles of the fields stay unknown then.

    Raises:
        UserError: something that the request names cannot be used.
    """
    reader = Sources(model, config, data, request.split, request.seed, request.grey_as, request.reading)
    default = config.name
    sources = [reader.sequence(request.source or default, "--from")]
    join: Join | None = "then" if request.then else "and" if request.plus else None
    second = request.then or request.plus
    if second:
        sources.append(reader.sequence(second, f"--{join}"))
    targets = reader.images(request.to or default, "--to")
    roles, names = _roles(model, data, data_needed)
    off = _fields(request.without, roles, model.num_fields)
    activities = [infer(model, source) for source in sources]
    controls = _edited(activities, join, request, model.num_fields, off)
    frames = apply(model, targets.images, controls, parts_for(model, request.scale)).cpu()
    truth, true_frames = None, None
    truths = [source.truth for source in sources if source.truth is not None]
    if len(truths) == len(sources):
        rows = [role.row for role in roles if role.field in off and role.row is not None]
        truth = _edited(truths, join, request, len(names), rows)
        if targets.indices is not None and renderable(data(), request.split, targets.indices, truth, targets.start):
            true_frames = moved(data(), request.split, targets.indices, truth, targets.start).frames.cpu()
    per_field = [strongest_part(speeds.cpu().numpy(), model.num_fields) for speeds in (*activities, controls)]
    transfer = Transfer(
        sources=sources,
        activities=per_field[:-1],
        join=join,
        applied=per_field[-1],
        edits=_edits(request, roles, off),
        reverse=request.reverse,
        targets=dataclasses.replace(targets, images=targets.images.cpu()),
        frames=frames,
        truth=None if truth is None else truth.cpu().numpy(),
        true_frames=true_frames,
        certainties=[sureness(model, *both) for both in zip(sources, activities, strict=True)],
    )
    return transfer, controls.cpu(), roles, names


def _pictured(transfer: Transfer, kind: FrameKind) -> Transfer:
    """The same with frames as images, see :func:`stf.plot.compute.pictures.pictures`.

    Changes of a file are from a background of its own and not from that of the run's data: all are shown on grey then.
    """
    read = transfer.targets.indices is None or any(source.read for source in transfer.sources)
    if isinstance(kind, Changes) and read:
        return transfer

    def show(frames: Tensor | None) -> Tensor | None:
        return None if frames is None else pictures(frames, kind)

    return dataclasses.replace(
        transfer,
        sources=[dataclasses.replace(source, frames=show(source.frames)) for source in transfer.sources],
        targets=dataclasses.replace(transfer.targets, images=pictures(transfer.targets.images, kind)),
        frames=pictures(transfer.frames, kind),
        true_frames=show(transfer.true_frames),
    )


def infer(model: SequenceModel, source: Source) -> Tensor:
    """Return the activity of a source ``(T, C)``: as given, or inferred from its frames."""
    return model.infer(_frames_of(source)[None])[0] if source.speeds is None else source.speeds


def _frames_of(source: Source) -> Tensor:
    """The frames of a source whose activity is not given."""
    return cast(Tensor, source.frames)


def sureness(model: SequenceModel, source: Source, activity: Tensor) -> Certainty | None:
    """Return how sure the activity ``(T, C)`` inferred from a source is, ``(T, K)``; None if it is given or unknown."""
    found = None if source.speeds is not None else certainty(model, _frames_of(source)[None])
    return None if found is None else per_field(found[0], activity.cpu().numpy(), model.num_fields)


def _edited(activities: list[Tensor], join: Join | None, request: Request, columns: int, off: list[int]) -> Tensor:
    first, *others = activities
    combined = {"then": followed_by, "and": together_with}[join](first, *others) if join else first
    return edit(combined, columns, request.scale, request.reverse, off)


def _loader(opened: Run, root: Path | None) -> Callable[[], SequenceData]:
    """The run's data, read when they are first asked for."""
    return functools.cache(lambda: opened.data_at(root))


def _roles(
    model: SequenceModel, data: Callable[[], SequenceData], needed: bool
) -> tuple[list[FieldRole], tuple[str, ...]]:
    """Roles of all fields and names of the transformations; unknown, if there are no data to find them out on."""
    try:
        found = data()
    except UserError:
        if needed:
            raise
        return [FieldRole(field) for field in range(model.num_fields)], ()
    return assign(model, found).roles, found.transformations


def _fields(text: str | None, roles: list[FieldRole], num_fields: int) -> list[int]:
    """Numbers of the fields that ``--without`` names."""
    named = {role.transformation: role.field for role in roles if role.transformation is not None}
    fields = {str(field): field for field in range(num_fields)} | named
    words = [] if text is None else text.replace(",", " ").split()
    if text is not None and not words:
        raise UserError("--without: found no field, expected one or several")
    for word in words:
        if word not in fields:
            expected = ", ".join([f"numbers from 0 to {num_fields - 1}", *named])
            raise UserError(f"--without: found {word!r}, expected fields: {expected}")
    return sorted({fields[word] for word in words})


def _edits(request: Request, roles: list[FieldRole], off: list[int]) -> str:
    names = {role.field: role.transformation for role in roles}
    words = [f"without {listed(off)}"] if off else []
    known = [name for field in off if (name := names.get(field))]
    words = [f"{words[0]} ({', '.join(known)})"] if known else words
    words += [f"speeds × {request.scale:g}"] if request.scale != 1 else []
    words += ["backwards"] if request.reverse else []
    return ", ".join(words)


def _record(
    transfer: Transfer, controls: Tensor, roles: list[FieldRole], request: Request, run_dir: str, mode: str
) -> dict[str, Any]:
    """What ``activity.json`` holds."""
    errors = transfer.errors()
    return {
        "package": PACKAGE,
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "run": run_dir,
        "mode": mode,
        "request": config_to_dict(request),
        "sources": [
            {
                "name": source.name,
                "about": source.about,
                "given": source.speeds is not None,
                "steps": len(activity),
                "speeds_per_field": activity.tolist(),
                "true_speeds": None if source.truth is None else source.truth.tolist(),
            }
            for source, activity in zip(transfer.sources, transfer.activities, strict=True)
        ],
        "join": transfer.join,
        "edits": transfer.edits,
        "fields": [_described(role, transfer.applied[:, role.field]) for role in sorted(roles, key=lambda r: r.field)],
        SPEEDS: controls.tolist(),
        "true_speeds": None if transfer.truth is None else transfer.truth.tolist(),
        "images": {
            "name": transfer.targets.name,
            "about": transfer.targets.about,
            "l1_error_per_frame": None if errors is None else errors[0],
            "l1_error_per_frame_unmoved": None if errors is None else errors[1],
        },
    }


def _described(role: FieldRole, speeds: NDArray[np.float64]) -> dict[str, Any]:
    on = np.flatnonzero(speeds)
    return {
        "field": role.field,
        "transformation": role.transformation,
        "direction": role.direction,
        "active_steps": (on + 1).tolist(),
        "mean_speed": float(speeds[on].mean()) if len(on) else None,
    }


def _lines(transfer: Transfer, record: dict[str, Any]) -> list[str]:
    """What was found, for people."""
    lines = [
        f"{word}: {source.about}, {len(activity)} steps"
        for word, source, activity in zip(("from", transfer.join), transfer.sources, transfer.activities, strict=False)
    ]
    lines += [f"to: {transfer.targets.about}"]
    lines += [f"edited: {transfer.edits}"] if transfer.edits else []
    active = [entry for entry in record["fields"] if entry["active_steps"]]
    for entry in active:
        name = f" ({entry['transformation']})" if entry["transformation"] else ""
        steps = ranges(entry["active_steps"])
        lines.append(f"  field {entry['field']}{name}: steps {steps}, mean speed {entry['mean_speed']:.2f}")
    lines += [] if active else ["  no field acts"]
    unnamed = all(entry["transformation"] is None for entry in record["fields"])
    return [*lines, "which transformation a field does is not known here"] if unnamed else lines


def ranges(numbers: list[int]) -> str:
    """Return ascending numbers as ranges.

    Example:
        >>> ranges([1, 2, 3, 7, 9, 10])
        '1-3, 7, 9-10'
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)


def _require_writable(out: Path, request: Request) -> None:
    """Check that nothing of somebody else's is overwritten, and nothing that is read."""
    flags = {"--from": request.source, "--then": request.then, "--and": request.plus, "--to": request.to}
    for flag, text in flags.items():
        if text and os.path.exists(text) and out.resolve() in (Path(text).resolve(), *Path(text).resolve().parents):
            raise UserError(f"{flag}: found {text} in the folder that is written, expected another --out than {out}")
    if not out.is_dir() or is_empty(out):
        return
    marker = out / ACTIVITY
    found = read_json_object(marker) if marker.is_file() else {}
    if (found.get("package"), found.get("kind")) != (PACKAGE, KIND):
        raise UserError(f"--out: found other files in {out}, expected a new or empty folder, or an earlier transfer's")


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder whose files move into ``out`` at the end, :data:`ACTIVITY` last; on failure ``out`` stays as it was."""
    made = not out.exists()
    with reporting("write", out):
        out.mkdir(parents=True, exist_ok=True)
        stage = out / f"{TEMPORARY}{os.getpid()}-{KIND}"
        stage.mkdir()
    try:
        yield stage
        with reporting("write", out):
            for path in sorted(stage.iterdir(), key=lambda path: path.name == ACTIVITY):
                move(path, out / path.name)
            fsync_folder(out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if made:
            with suppress(OSError):
                out.rmdir()
