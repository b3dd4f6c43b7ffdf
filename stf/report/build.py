"""From a run folder to its figures, animations and report on disk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from PIL import Image
from rich.console import Console
from rich.text import Text

from ffrl.config import RunConfig
from ffrl.core.errors import UserError
from ffrl.core.evaluation_mode import evaluation_mode
from ffrl.core.files import reporting, require_inside, write_atomically
from ffrl.core.reading import read_json_object
from ffrl.data.base import SequenceData
from ffrl.evaluation.evaluate import describe_data, evaluate
from ffrl.models.interface import SequenceModel
from ffrl.storage.names import EVALUATION
from ffrl.training.config_io import config_to_dict, flat
from ffrl.training.run_folder import Description
from stf.plot.compute.assignment import Assignment, assign
from stf.plot.compute.observed import Traversal
from stf.plot.compute.plane import parse_plane
from stf.plot.curves import phase_ends
from stf.plot.drawing.animation import encode_animation
from stf.plot.drawing.style import encode, field_name, house_style
from stf.plot.motion import DPI as MOTION_DPI
from stf.plot.motion import durations, motion_frames
from stf.report import captions
from stf.report.all_figures import SPLIT, exhibits, searching, training
from stf.report.exhibit import ALONE, Exhibit, Tell
from stf.report.explorer import explore
from stf.report.html import Picture, Report, render_report
from stf.report.run_verdict import print_verdict, verdict_of
from stf.report.tables import MAY_LACK, Table, configuration_table, evaluation_tables
from stf.report.verdict import Verdict

if TYPE_CHECKING:
    from stf.run import Run

REPORT = "report.html"
SMALLER = 2
"""How many times fewer dots per inch the figures inside the report have."""
MEASURED, LEAST_MEASURED = 500, 64
"""Images that the report measures on where there is no ``evaluation.json`` of the same checkpoint; fewer large ones."""
LONG, LARGE = 8, 6 * 48
"""T, and controls times latent dimensions, beyond which it measures on fewer."""
VECTOR = ("svg", "pdf")

Format = Literal["png", "svg", "pdf"]
Motion = Literal["gif", "png", "none"]


@house_style()
def draw(
    run: Run,
    out: str | Path | None = None,
    seed: int = 0,
    *,
    plane: str = "trajectories",
    form: Format = "png",
    motion: Motion = "gif",
    console: Console | None = None,
) -> list[Path]:
    """Draw everything that the mode of a run allows, and write a report of it.

    The same run, arguments and number of threads give the same files on one machine.

    Args:
        run: open, with its data.
        out: folder for the figures; ``figures`` in the run folder for None.
        seed: chooses the held-out images and sequences.
        plane: of latent space, ``trajectories``, ``pca`` or two axes ``I,J``.
        form: ``svg`` or ``pdf`` writes each figure in that form besides the PNG.
        motion: animations as GIF, as animated PNG, or none.
        console: where to show progress, a line that changes on a terminal, plain lines elsewhere, and at the end the
            verdict; nowhere for None.

    Returns:
        The written files, the report last.

    Raises:
        UserError: the run, its data or the plane cannot be used, or ``out`` cannot be written.
    """
    run.require_fields()
    parse_plane(plane, run.model.latent_dim)
    run_dir, config, model, data, metrics = run.path, run.config, run.model, run.data, run.metrics
    folder = run_dir / "figures" if out is None else Path(out)
    require_inside(run_dir, folder)
    with reporting("write", folder):
        folder.mkdir(parents=out is not None, exist_ok=True)  # a run that has gone is not made anew
    name = run_dir.resolve().name
    written: list[Path] = []
    still: list[Picture] = []
    moving: list[Picture] = []
    traversals: list[Traversal] = []
    with _Doing(console) as tell, evaluation_mode(model):
        tell("inferring activity")
        found = assign(model, data, SPLIT, seed)
        shown = exhibits(model, data, found, seed, plane, tell)
        for exhibit in chain(shown, _training(metrics, config, found, name)):
            paths, picture = _write(exhibit, folder, form)
            written += paths
            still.append(picture)
            if exhibit.motion is None:
                continue
            traversals.append(exhibit.motion)
            if motion != "none":
                tell(f"animation of {field_name(exhibit.motion.role.field)}")
                path, picture = _animate(exhibit.motion, folder, motion)
                written.append(path)
                moving.append(picture)
        tell("sliders")
        explorer = explore(model, traversals)
        measured = evaluated(run, seed, tell)
        report = Report(
            run=name,
            facts=_facts(config, metrics, run.step, model, data),
            verdict=measured.verdict,
            roles=found.roles,
            pictures=[*still, *moving],
            evaluation=measured.tables,
            source=measured.source,
            configuration=configuration_table(flat(config_to_dict(config))),
            explorer=explorer,
            vectors=data.features is not None,
            doubts=[str(one) for one in Description.read(run_dir).findings],
        )
        path = folder / REPORT
        write_atomically(path, render_report(report).encode("utf-8", "replace"))
    if console is not None:
        print_verdict(measured.verdict, console)
    return [*written, path]


class _Doing:
    """Shows what is being done: a line that changes on a terminal, plain lines elsewhere, nothing without a console."""

    def __init__(self, console: Console | None) -> None:
        self.console = console
        self.status = console.status(Text("loading")) if console is not None and console.is_terminal else None

    def __enter__(self) -> Self:
        if self.status is not None:
            self.status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.status is not None:
            self.status.stop()

    def __call__(self, doing: str) -> None:
        if self.status is not None:
            self.status.update(Text(doing))
        elif self.console is not None:
            self.console.print(doing, markup=False, highlight=False, soft_wrap=True)


def _training(metrics: Sequence[dict[str, Any]], config: RunConfig, found: Assignment, name: str) -> list[Exhibit]:
    search = searching(metrics, found.roles, name)
    curves = [training(metrics, phase_ends(config), config.steps, name)] if metrics else []
    return curves if search is None else [search, *curves]


def _write(exhibit: Exhibit, folder: Path, form: Format) -> tuple[list[Path], Picture]:
    """Write a figure, and return its files and what the report shows of it."""
    figure, paths = exhibit.figure, [folder / f"{exhibit.name}.png"]
    png = encode(figure, "png")
    write_atomically(paths[0], png)
    if form in VECTOR:
        paths.append(folder / f"{exhibit.name}.{form}")
        write_atomically(paths[1], encode(figure, form))
    with Image.open(BytesIO(png)) as image:
        small = image.convert("RGB").reduce(SMALLER)
    about = (exhibit.section, exhibit.title, exhibit.caption, exhibit.alt)
    return paths, Picture(exhibit.name, *about, _png(small), small.size, figure.get_figwidth())


def _animate(one: Traversal, folder: Path, motion: Motion) -> tuple[Path, Picture]:
    """Write an animation, and return its file and what the report shows of it: an animated PNG, as that is smaller."""
    name, frames, seconds = f"motion-field-{one.role.field}", motion_frames(one.shown()), durations(one.steps)
    path = folder / f"{name}.{motion}"
    png = encode_animation(frames, folder / f"{name}.png", seconds)
    write_atomically(path, png if motion == "png" else encode_animation(frames, path, seconds))
    title = captions.upper(field_name(one.role.field)) + " in motion"
    alt = f"Animation: held-out frames moved by {field_name(one.role.field)} forwards and backwards."
    height, width = frames[0].shape[:2]
    still = _png(Image.fromarray(frames[0]))
    picture = Picture(name, ALONE, title, captions.of_motion(one), alt, png, (width, height), width / MOTION_DPI, still)
    return path, picture


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class Evaluated(NamedTuple):
    """What the report says of an evaluation: its verdict, its tables, and where it comes from."""

    verdict: Verdict
    tables: list[Table]
    source: str


def evaluated(run: Run, seed: int, tell: Tell) -> Evaluated:
    """What ``evaluation.json`` says if it is of the same checkpoint, else an evaluation made now.

    Args:
        run: open, with its data.
        seed: of everything random in an evaluation made now.
        tell: told that one is made.
    """
    path, model, data = run.path / EVALUATION, run.model, run.data
    if path.exists():
        with suppress(UserError, *MAY_LACK):
            read = read_json_object(path)
            if read["step"] == run.step and read["data"] == describe_data(data):
                return _described(run, read, f"From {EVALUATION} of this run: {_measured(read)}.")
    tell("evaluation")
    count = min(_count(model, data), data.size(SPLIT))
    made = evaluate(model, data, SPLIT, seed, count)
    return _described(run, made, f"Measured for this report: {_measured(made)}; by default stf evaluate takes 1,000.")


def _count(model: SequenceModel, data: SequenceData) -> int:
    """How many images the report measures on: fewer large ones, of long sequences, and of large models."""
    pixels, size = math.prod(data.image_shape[1:]), model.num_controls * model.latent_dim
    count = min(MEASURED, max(LEAST_MEASURED, MEASURED * 2 * 28**2 // pixels))
    larger = max(1.0, (data.num_steps / LONG) ** 1.5, size / LARGE)
    return max(min(count, LEAST_MEASURED // 2), round(count / larger))


def _described(run: Run, evaluation: Mapping[str, Any], source: str) -> Evaluated:
    return Evaluated(verdict_of(run, evaluation), evaluation_tables(evaluation), source)


def _measured(evaluation: Mapping[str, Any]) -> str:
    data = evaluation["data"]
    kind = "images" if data.get("prescribed", data["transformations"]) else "clips"
    return f"{evaluation['sequences']:,} {kind} of the {evaluation['split']} split, seed {evaluation['seed']}"


def _facts(
    config: RunConfig, metrics: Sequence[dict[str, Any]], step: int, model: SequenceModel, data: SequenceData
) -> dict[str, str]:
    """What the run is, by name."""
    seconds = [entry["seconds"] for entry in metrics if entry["step"] <= step and entry.get("seconds") is not None]
    protocol = f", protocol {data.protocol}" if data.protocol is not None else ""
    return {
        "mode": config.mode,
        "data": f"{data.title}{protocol}, T = {data.num_steps}",
        **({"about the data": data.about} if data.about else {}),
        "training": f"{step:,} of {config.steps:,} steps" + (f" in {seconds[-1] / 60:.1f} minutes" if seconds else ""),
        "model": f"{model.num_fields} fields in {model.latent_dim} dimensions, "
        f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters",
        "seed": str(config.seed),
    }
