"""The report: well-formed, self-contained, escaped, and with the numbers of the evaluation."""

from __future__ import annotations

import base64
import json
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from engine_tiny import tiny_config
from report_tools import Page, check

from ffrl.config import DataConfig, ModelConfig
from ffrl.data import load
from ffrl.evaluation.evaluate import evaluate
from ffrl.evaluation.matching import align
from ffrl.evaluation.measures.calibration import calibrate
from ffrl.evaluation.measures.confusion import confusion
from ffrl.evaluation.registry import criteria_of
from ffrl.tables.table import Column, Row
from ffrl.training.config_io import config_to_dict, flat
from stf.config import SparseModelConfig
from stf.plot.compute.field_context import Derivatives, PlaneDerivatives, PlaneField, Shares
from stf.plot.compute.observed import ErrorCurve, Traversal
from stf.plot.compute.plane import Plane
from stf.plot.compute.roles import ActivityRow, FieldRole, aligned_roles, confused_roles
from stf.plot.drawing.style import field_style
from stf.report import captions, field_captions
from stf.report.exhibits.reliability import of_reliability
from stf.report.explorer import Explorer
from stf.report.html import Picture, Report, anchor, render_report
from stf.report.tables import Table, configuration_table, evaluation_tables
from stf.report.verdict import Verdict
from stf.run import build_model

NASTY = "<script>alert('x')</script> & \"http://example.org\" {style}"


def picture(name: str, section: str, still: bytes | None = None) -> Picture:
    return Picture(name, section, f"Title of {name}", f"Caption of {name}.", f"{name} shows", b"png " + name.encode(),
                   (800, 400), 8.0, still)  # fmt: skip


def report(**changes: Any) -> Report:
    values = dict(
        run="a-run",
        facts={"mode": "weak"},
        verdict=Verdict(("A finding.", "Another."), ("Sure.",), ("Do this.",)),
        roles=[FieldRole(2, 0, "hue"), FieldRole(0), FieldRole(1, silent=True)],
        pictures=[picture("overview", "First"), picture("strip", "Second"), picture("motion", "Second", b"still")],
        evaluation=[
            Table("errors", "Errors", "row", [Column("value", digits=0)], [Row("a", [1.0])], ["What it means."])
        ],
        source="From a file.",
        configuration=configuration_table({"seed": 3}),
    )
    return Report(**(values | changes))


def test_a_report_is_well_formed_and_loads_nothing() -> None:
    text = render_report(report())
    page = Page(text)
    check(page)
    assert "http:" not in text and "https:" not in text
    assert page.words["h1"] == ["a-run"] and page.words["dd"] == ["weak"]
    said = ["What was found", "How sure that is", "What to do next"]
    assert page.words["h2"] == [*said, "Contents", "First", "Second", "Evaluation", "Configuration"]
    order = [text.index(words) for words in (">A finding.<", ">Another.<", ">Sure.<", ">Do this.<", "<nav", "<figure")]
    assert order == sorted(order), "the verdict comes first"
    assert page.figures == {f"figure-{name}": f"Caption of {name}." for name in ("overview", "strip", "motion")}
    shown = [base64.b64decode(found["src"].partition(",")[2]) for found in page.of("img")]
    assert shown == [b"png overview", b"png strip", b"png motion"]
    assert page.tables["table-errors"] == [["row", "value"], ["a", "1"]]
    assert page.tables["table-configuration"] == [["key", "value"], ["seed", "3"]]
    assert "What it means." in page.words["p"] and "From a file." in page.words["p"]


def test_less_motion_is_shown_to_those_who_want_it() -> None:
    (still,) = Page(render_report(report())).of("source")
    assert still["media"] == "(prefers-reduced-motion: reduce)"
    assert base64.b64decode(still["srcset"].partition(",")[2]) == b"still"


def test_fields_have_their_colours() -> None:
    text = render_report(report())
    for field, does in ((2, "hue"), (0, "no transformation"), (1, "silent")):
        look = field_style(field)
        assert f'style="background:{look.colour};color:{look.ink}">field {field}</b> {does}' in text


def test_everything_from_the_run_is_escaped() -> None:
    table = Table("nasty", NASTY, NASTY, [Column(NASTY)], [Row(NASTY, [NASTY])], [NASTY])
    figure = Picture("traversals", NASTY, NASTY, NASTY, NASTY, b"", (1, 1), 1.0)
    text = render_report(
        report(
            run=NASTY,
            facts={NASTY: NASTY},
            verdict=Verdict((NASTY,), (NASTY,), (NASTY,)),
            explorer=Explorer((FieldRole(0, 0, NASTY),), 1, 2, (1, 1), b""),
            roles=[FieldRole(0, 0, NASTY)],
            pictures=[figure],
            evaluation=[table],
            source=NASTY,
            configuration=configuration_table({NASTY: NASTY}),
        )
    )
    page = Page(text)
    check(page)
    assert text.count("<script") == 1 and "alert" not in page.words["script"][0]
    assert page.words["li"].count(NASTY) >= 3 and f" {NASTY}" in page.words["label"]
    assert page.words["h1"] == [NASTY] and page.words["figcaption"] == [NASTY] and page.words["dd"] == [NASTY]
    assert [found["alt"] for found in page.of("img") if "hidden" not in found] == [NASTY]
    assert page.tables["table-nasty"] == [[NASTY, NASTY], [NASTY, NASTY]]
    assert page.words["title"][0].startswith(NASTY)


def test_contents_are_folded_until_a_script_opens_them_on_a_wide_window() -> None:
    page = Page(render_report(report()))
    assert [found["id"] for found in page.of("details") if "open" not in found and "id" in found] == ["contents-list"]
    assert "contents-list" in page.words["script"][0] and "min-width: 50rem" in page.words["script"][0]


def test_sliders_stand_before_the_figure_that_they_move_and_are_hidden_without_a_script() -> None:
    explorer = Explorer((FieldRole(2, 0, "hue"), FieldRole(0)), 3, 4, (28, 20), b"sheet")
    page = Page(render_report(report(pictures=[picture("traversals", "Alone")], explorer=explorer)))
    check(page)
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert ids.index("alone") < ids.index("explorer") < ids.index("figure-traversals")
    (box,) = (found for found in page.of("div") if found.get("id") == "explorer")
    assert "hidden" in box and box["data-speeds"].split() == ["-1.5", "-1.0", "-0.5", "0.0", "0.5", "1.0", "1.5"]
    assert [box[f"data-{name}"] for name in ("steps", "images", "width", "height")] == ["4", "3", "28", "20"]
    kinds = [(found["type"], found["value"]) for found in page.of("input")]
    assert kinds == [("radio", "0"), ("radio", "1"), ("range", "1"), ("range", "1")]
    assert [found["aria-label"] for found in page.of("canvas")] == ["real image", *(f"t = {t}" for t in range(4))]
    (sheet,) = (found for found in page.of("img") if found.get("id") == "explorer-sheet")
    assert base64.b64decode(sheet["src"].partition(",")[2]) == b"sheet"
    assert (sheet["width"], sheet["height"]) == (str(28 * (7 * 4 + 1)), str(20 * 2 * 3))
    without = Page(render_report(report(pictures=[picture("traversals", "Alone")])))
    assert not without.of("input") and not without.of("canvas")


def test_anchors_of_titles_are_ids() -> None:
    assert anchor("Fields in latent space") == "fields-in-latent-space"
    assert re.fullmatch("[a-z0-9-]+", anchor(NASTY))


@pytest.fixture(scope="module", params=["unsupervised", "weak", "supervised"])
def evaluation(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Of an untrained model, as ``evaluation.json`` holds it."""
    kind = ModelConfig if request.param == "supervised" else SparseModelConfig
    size = dict(num_fields=3, latent_dim=3, width=8, depth=1, potential_width=4)
    config = tiny_config(request.param, model=kind(**size))
    result = evaluate(build_model(config, (3, 28, 28)), load(DataConfig()), sequences=3, samples=2)
    return json.loads(json.dumps(result))


def test_the_tables_hold_the_numbers_of_the_evaluation(evaluation: dict[str, Any]) -> None:
    page = Page(render_report(report(evaluation=evaluation_tables(evaluation))))
    check(page)
    rows = {row[0]: row for row in page.tables["table-equivariance"][1:]}
    for name, kinds in evaluation["equivariance"].items():
        for kind, column in (("flow", 3), ("reconstruction", 4), ("copy", 5)):
            error = kinds[kind]["mean_per_frame"]
            assert rows[name][column] == f"{error['mean']:,.2f} ± {error['standard_error']:.2f}"
        total = kinds["flow"]["seven_step_sum"]
        assert rows[name][1] == f"{total['mean']:,.2f} ± {total['standard_error']:.2f}"
    assert rows["rotation"][-2:] == ["153.54", "157.16"]
    bounds = {row[0].removesuffix(" †"): row for row in page.tables["table-likelihood"][1:]}
    for name, entry in evaluation["likelihood"]["likelihoods"].items():
        assert bounds[name][1].startswith(f"{entry['elbo']['mean']:,.2f} ±")
        assert bounds[name][2].startswith(f"{entry['iwae']['mean']:,.2f} ±")
        assert bounds[name][3] == f"{entry['upper_bound']:,.2f}"
    assert any("legacy_score" in text and "not a likelihood" in text for text in page.words["p"])
    assert ("table-alignment" in page.tables) == ("alignment" in evaluation)
    assert ("table-confusion" in page.tables) == ("confusion" in evaluation)


SUPERVISED = {
    "data": {"name": "mnist", "protocol": "sta", "num_steps": 3},
    "samples": 2,
    "equivariance": {},
    "likelihood": {
        "quantity": "log p",
        "sequences": "single",
        "trained_with": "a",
        "likelihoods": {},
        "legacy_score": {"mean": None, "formula": "f", "note": "n"},
    },
}


def test_the_targets_stand_beside_what_was_found() -> None:
    generator = np.random.default_rng(0)
    truth = np.where(generator.random((50, 4, 2)) < 0.4, generator.uniform(0.5, 1.5, (50, 4, 2)), 0.0)
    found = align(0.9 * truth[..., ::-1] + [0, 0], truth, ["scaling", "hue"])
    there = truth[..., 0][truth[..., 0] != 0]
    rmse = f"{0.1 * np.sqrt(np.mean(there**2)):.3f}"
    result = SUPERVISED | {"alignment": found}
    tables = {table.name: table for table in evaluation_tables(result | {"criteria": criteria_of(result)})}
    rows = {row.title: tables["alignment"].texts(row) for row in tables["alignment"].rows}
    assert rows["scaling"] == ["1", "1.000", "1.000", "1.000", "1.000", "1.000", "0.900", rmse]
    assert rows["target"] == ["", "≥ 0.98", "", "", "≥ 0.97", "≥ 0.9", "1", "0"]
    assert any("Fields alive, with a mean |g| above 0.01: 2; transformations: 2." in text
               for text in tables["alignment"].notes)  # fmt: skip
    assert [[cell.best for cell in row.cells] for row in tables["activity"].rows] == [[False, True], [True, False]]
    verdicts = {row.title: row.cells for row in tables["criteria"].rows}
    assert verdicts["spike F1"] == ("at least 0.97", "1.0000", "reached")
    assert verdicts["mean activity of further fields"] == ("at most 0.01", "there are none", "reached")
    assert verdicts["fields alive"] == ("exactly 2", "2", "reached") and "calibration" not in tables
    assert list(tables)[:3] == ["criteria", "activity", "alignment"], "what was found is at the top"


def test_the_calibration_stands_beside_what_is_ideal() -> None:
    truth = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    found = align(truth + 0.25 * (truth != 0), truth, ["scaling", "hue"])
    made = calibrate(0.125 + 0.75 * (truth != 0), truth + 0.25 * (truth != 0), 0.2 + 0 * truth, truth, found)
    result = SUPERVISED | {"alignment": found, "calibration": made}
    tables = {table.name: table for table in evaluation_tables(result | {"criteria": criteria_of(result)})}
    assert [[row.title, *tables["calibration"].texts(row)] for row in tables["calibration"].rows] == [
        ["scaling", "0.1250", "4", "0.0 %", "100.0 %"],
        ["hue", "0.1250", "4", "n/a", "n/a"],
        ["all pooled", "0.1250", "8", "0.0 %", "100.0 %"],
        ["target", "≤ 0.03 pooled", "", "68.3 %", "95.4 %"],
    ]
    assert any(text.startswith("Speeds n/a (hue): ") for text in tables["alignment"].notes)
    last = tables["criteria"].rows[-1]
    assert (last.title, *last.cells) == ("pooled calibration error", "at most 0.03", "0.1250", "not reached")
    assert of_reliability(made, found) == (
        "The probability that a field is on is off by 0.125 on average (scaling 0.125 and hue 0.125); inferred speeds "
        "are off by 0.25 (scaling) unit steps, root mean square, and 0 % of the true ones lie within one deviation, "
        "100 % within two (a right Gaussian: 68 % and 95 %)."
    )
    none = align(0 * truth, truth, ["scaling", "hue"])
    text = of_reliability(calibrate(truth / 2, 0 * truth, truth, truth, none), none)
    assert text.startswith("No field matches a transformation yet")
    flat = (truth != 0).astype(float)
    same = align(flat, flat, ["scaling", "hue"])
    text = of_reliability(calibrate(flat, flat, flat, flat, same), same)
    assert text.endswith("on average (scaling 0.000 and hue 0.000); of speeds there is nothing to say: true ones do "
                         "not vary, or are never on together with inferred ones.")  # fmt: skip


def test_the_configuration_table_has_every_key() -> None:
    values = flat(config_to_dict(tiny_config("unsupervised")))
    table = configuration_table(values)
    shown = {row.title: row.cells[0] for row in table.rows}
    assert list(shown) == list(values) and shown["data.root"] == "not given" and shown["seed"] == "5"
    assert shown["deterministic"] == "false" and shown["data.speed-spread"] == "0.7"


def test_a_caption_names_the_field_of_each_transformation() -> None:
    truth = np.eye(3)[None].repeat(10, 0)
    inferred = np.zeros((10, 3, 5))
    inferred[..., 3], inferred[..., 1] = truth[..., 0], 0.9 * truth[..., 1]
    inferred[:, 1, 0] = 0.1
    found = align(inferred, truth, ["scaling", "rotation", "hue"])
    assert captions.of_alignment(found, aligned_roles(found, 5)) == (
        "Scaling is carried by field 3 (100 % of the activity while only it acts) and rotation by field 1 (90 %); no "
        "field responds to hue; field 0 acts without a transformation; fields 2 and 4 are silent."
    )
    assert "On 10 held-out sequences 89 % of the spikes are right" in captions.of_raster(found, 10)
    assert "0.97 fields act per step where 1.00 transformations do" in captions.of_raster(
        found | {"active_fields": {"inferred": 0.966, "true": 1.0}}, 10
    )


def test_a_caption_of_a_weak_model_tells_its_accuracy() -> None:
    found = confusion([1, 1, 0, 1], [0, 0, 1, 1], 3, ["scaling", "rotation"])
    assert captions.of_confusion(found, confused_roles(found, 3)) == (
        "The matched field is inferred for 75 % of 4 held-out sequences: field 1 for scaling and field 0 for rotation; "
        "field 2 is silent."
    )


def test_captions_tell_the_errors_that_are_drawn() -> None:
    steps, flow = np.arange(-1, 5), np.array([[50.0, 0, 10, 20, 30, 40]])
    curve = ErrorCurve(steps, flow, 2 * flow, flow)
    frames = torch.zeros(1, 6, 1, 2, 2)
    one = Traversal(FieldRole(4, 0, "hue"), frames[:, 0], tuple(steps.tolist()), frames, 2, {})
    assert captions.of_strip(one, curve) == (
        "Field 4 alone does hue with a mean L1 error of 15 over the trained length (not moving: 30), 35 beyond it, and "
        "50 backwards."
    )
    assert "matches no transformation" in captions.of_strip(one, None)
    lanes = [ActivityRow(FieldRole(1, 0, "hue"), 0, "hue"), ActivityRow(None, 1, "scaling")]
    text = captions.of_overview(lanes, np.array([[0, 0.5], [0, 1]]), np.array([[1.0, 0], [1, 0]]), 12.4, 99.9, False)
    assert "sequence hue acts and the inferred speeds are off by 0.12" in text
    assert "error of 12 per frame, where standing still has 100." in text


def test_the_caption_of_the_curves_tells_where_they_end() -> None:
    metrics = [{"step": 10, "validation/l1": 90.0}, {"step": 40, "validation/l1": 50.25}, {"step": 40}]
    assert captions.of_curves(metrics, {"still frames end": 8.0, "warm-up ends": 80.0}) == (
        "Training took 40 steps; the L1 error per frame of held-out sequences ended at 50.2; jumps where phases end "
        "are expected: still frames at 8."
    )


ROLES = [FieldRole(2, 0, "scaling"), FieldRole(0)]


def test_captions_of_fields_tell_what_is_drawn() -> None:
    one, three = torch.ones(4), torch.tensor([1.0, 5.0, 3.0, 3.0])
    shares = [Shares(ROLES[0], one, three, one, one, one, one), Shares(ROLES[1], three, one, one, one, one, one)]
    assert "makes up 75 % (scaling) and 25 % (field 0) of the norms" in field_captions.of_helmholtz(shares)
    small = Derivatives(torch.tensor([[0.5, -2e-16]]), torch.tensor([[3e-17, 0.0]]), torch.ones(1, 2))
    turned = Derivatives(torch.tensor([[0.0, -2e-16]]), torch.tensor([[0.7, 0.7]]), torch.tensor([[1.0, 2.0]]))
    plane = Plane(torch.zeros(3), torch.eye(3)[:2], ("x", "y"))
    maps = [PlaneDerivatives(role, plane, one, one, small, turned, torch.zeros(3, 2)) for role in ROLES]
    assert field_captions.of_differential(maps) == (
        "What has to vanish does, up to rounding: the divergence-free parts have no divergence (at most 1.0e−16 of "
        "‖J‖) and gradients have no curl (at most 3.0e−17 of ‖J‖)."
    )
    path = torch.tensor([[0.0, 0, 0], [3, 0, 0], [3, 0, 4]])
    grid = torch.zeros(2, 2)
    vectors, heights = torch.zeros(2, 2, 3), torch.tensor([1.0, 0.5, -0.25])
    frames = torch.zeros(1, 1, 2, 2)
    field = PlaneField(ROLES[0], plane, one, one, grid, vectors, vectors, grid, path, heights, path[None], frames, (0,))
    assert "hold 36 % (scaling) of the motion" in field_captions.of_planes([field])
    assert "changes by −1.25 (scaling):" in field_captions.of_landscape([field])
    assert field_captions.of_planes([]) == captions.SILENCE == field_captions.of_helmholtz([])


@pytest.mark.parametrize("controls", [2, 4])
def test_the_caption_of_the_composition_tells_how_many_fields_carry_it(controls: int) -> None:
    activity = torch.zeros(3, controls)
    carried = SimpleNamespace(activity=activity, roles=ROLES, given=False, log_det=torch.tensor([[0.0, 0], [1, 2]]))
    assert field_captions.of_composition(carried).startswith("No field acts")
    activity[1, controls - 1] = activity[2, 1] = 0.5
    text = field_captions.of_composition(carried)
    assert "speeds of one field, inferred" in text and "for 3 steps, in which it expands (log-density −1.5 nats" in text
    activity[0, 0] = 1
    assert "speeds of 2 fields" in field_captions.of_composition(carried)
