"""The printed report: what it says, and that it fits 80 columns."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from evaluation_standins import ShiftedPictures, ShiftedStates, UnknownPictures, small
from rich.console import Console

from ffrl.config import ObjectiveConfig
from ffrl.evaluation.evaluate import evaluate
from ffrl.evaluation.matching import align
from ffrl.evaluation.measures.calibration import calibrate
from ffrl.evaluation.protocol.published import published
from ffrl.evaluation.registry import criteria_of
from ffrl.evaluation.report.terminal import print_report


def printed(result: dict, width: int = 80, styled: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=styled, color_system="standard" if styled else None)
    print_report(result, console)
    return stream.getvalue()


def flat(text: str) -> str:
    """On one line."""
    return " ".join(text.split())


def result_of(mode: str, **options: object) -> dict:
    return evaluate(small(mode, **options), ShiftedPictures(), sequences=6, samples=2)


def uncalibrated() -> dict:
    """A result whose alignment can be replaced: there is no calibration that goes with it."""
    result = result_of("unsupervised")
    result.pop("calibration", None)
    return result


def test_the_published_figures_are_beside_mnist_under_the_protocol_ffrl_alone() -> None:
    result = result_of("supervised")
    label = "Flow Factorized Representation Learning (poster, Table 1), supervised and weak, 7-step sums"
    assert label not in flat(printed(result)) and "185.42" not in printed(result)
    result["equivariance"] = dict(zip(("scaling", "rotation", "hue"), result["equivariance"].values(), strict=True))
    result["data"] |= {"name": "mnist", "protocol": "sta"}
    assert label not in flat(printed(result))
    result["data"]["protocol"] = "ffrl"
    text = printed(result)
    assert label in flat(text)
    for name, given, inferred in [("scaling", 185.42, 193.84), ("rotation", 153.54, 157.16), ("hue", 158.57, 165.19)]:
        (line,) = (line for line in text.splitlines() if name in line and str(given) in line)
        assert line.index(str(given)) < line.index(str(inferred))
    assert published({"name": "other", "protocol": "ffrl", "num_steps": 8}) is None


def test_published_figures_of_shapes3d_are_beside_the_real_file_alone() -> None:
    real = {"name": "shapes3d", "title": "Shapes3D", "protocol": "ffrl", "num_steps": 7}
    found = published(real)
    assert found.sums["supervised"]["wall-hue"] == 653.45 and found.sums["weak"]["scale"] == 653.58
    assert "Table 2" in found.where and "does not say" in found.about
    assert published(real | {"title": "rendered Shapes3D"}) is None and published(real | {"num_steps": 5}) is None


NAMES = [
    f"{action}-{facing}" for action in ("walk", "spellcast", "slash") for facing in ("front", "left", "right-handed")
]


@pytest.mark.parametrize("mode", ["weak", "unsupervised"])
def test_nine_transformations_and_twelve_fields_fit_80_columns(mode: str) -> None:
    data = ShiftedPictures(num_steps=15, shift=tuple(0.004 * j for j in range(1, 10)))
    data.transformations, data.title = tuple(NAMES), "Sprites of a folder"
    data.about = "Characters composed from sheets in [a folder]."
    text = printed(evaluate(small(mode, data, num_fields=12), data, sequences=6, samples=2))
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert all(text.count(name) >= 3 for name in NAMES) and "15-step" in text
    assert "Sprites of a folder" in text and "[a folder]" in text and "copy of x_0 itself" in text


@pytest.mark.parametrize("mode", ["weak", "unsupervised"])
def test_unknown_transformations_are_not_spoken_of(mode: str) -> None:
    data = UnknownPictures(3)
    result = evaluate(small(mode, data, num_fields=12), data, samples=2)
    text = printed(result)
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert "unknown pictures validation: 12 clips" in " ".join(text.split())
    for word in ("quivariance", "riteria", "share of the matched", "transformation acts", "7-step", "mixed"):
        assert word not in text
    assert "3-step sum" in text and "silent fields: " in text
    printed_order = [int(title.split()[0]) for title in rows(text, "What each field does") if title]
    growth = [result["fields"][field]["growth"]["mean"] for field in printed_order]
    assert sorted(printed_order) == list(range(12)) and growth == sorted(growth, reverse=True)


def of_states(mode: str, data: ShiftedStates, **options: object) -> dict:
    return evaluate(small(mode, data, **options), data, sequences=4, samples=1)


def rows(text: str, title: str) -> dict[str, list[str]]:
    """Cells of a table's lines by their first one."""
    lines = text[text.index(title) :].split("└", 1)[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    return {first: rest for first, *rest in cells}


def test_extrapolation_composition_and_switching_are_printed() -> None:
    result = of_states("supervised", ShiftedStates(limit=(99.0, 10.0, 8.0)), time_dependent=True)
    text = printed(result)
    beyond = rows(text, "Extrapolation beyond T")
    assert [beyond[name][0] for name in beyond] == ["9 .. 16", "9 .. 10", "n/a"]
    further = result["extrapolation"]["transformations"]["change 1"]["flow"]
    assert beyond["change 1"][1].startswith(f"{further['l1']['further_mean']['mean']:.2f} ± ")
    assert rows(text, "L1 per frame, continued")["change 1"][-1] == f"{further['mse']['further_mean']['mean']:.4f}"
    assert "Not shown (change 2): shifted states shows few states." in text
    assert "t / T > 1" in text and "activity given, at unit speed" in text
    both, turns = rows(text, "Two transformations at once"), rows(text, "One transformation, then another")
    assert list(both) == ["mean of 3", *result["composition"]["pairs"]]
    assert list(turns) == ["mean of 6", *result["switching"]["pairs"]]
    for name, found in [("mean of 3", "mean"), ("change 0 + change 2", None)]:
        entry = result["composition"]["mean"] if found else result["composition"]["pairs"][name]
        means = [entry[kind]["mean_per_frame"]["mean"] for kind in ("flow", "additive")]
        assert [cell.split(" ± ")[0] for cell in both[name]] == [f"{mean:.2f}" for mean in means]
    assert "switched after 4 steps" in " ".join(text.split())


def test_pairs_that_cannot_be_shown_are_printed_as_such() -> None:
    text = printed(of_states("weak", ShiftedStates(total=12.0)))
    text = " ".join(text.split("One transformation, then")[0].split())
    assert "Two transformations at once, L1 per frame: none can be shown Not shown (change 0 + change 1, " in text
    text = printed(of_states("weak", ShiftedStates(limit=(3.0, 9.0, 9.0))))
    both = rows(text, "Two transformations at once")
    assert [cells[-1] == "n/a" for cells in both.values()] == [True, True, False]
    assert "Not shown (change 0 + change 1, change 0 + change 2): shifted" in " ".join(text.split())


@pytest.mark.parametrize("total", [99.0, 8.0])
def test_of_many_pairs_the_mean_and_the_worst_are_printed(total: float) -> None:
    data = ShiftedStates(shift=tuple(0.004 * j for j in range(1, 10)), limit=(99.0,) * 9, total=total + 8)
    data.transformations = tuple(NAMES)
    result = of_states("weak", data, num_fields=12)
    text = printed(result)
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    pairs = result["composition"]["pairs"]
    if total == 8.0:  # seven others are in state 1
        assert "at once, L1 per frame: none can be shown" in text and "Not shown (36 of them)" in text
        return
    both = rows(text, "Two transformations at once")
    worst = max(pairs, key=lambda name: pairs[name]["flow"]["full_sum"]["mean"])
    assert next(iter(both)) == "mean of 36" and len(pairs) == 36
    assert f"worst: {worst}".replace(" ", "") == "".join(list(both)[1:]).replace(" ", "")
    assert rows(text, "One transformation, then")["mean of 9"]


def test_how_the_model_predicts_is_said_and_a_missing_likelihood() -> None:
    result = result_of("supervised")
    result["model"]["prediction"] = "guessing [wildly]"
    assert "prediction of later frames: guessing [wildly]" in printed(result)
    assert "no likelihood" not in printed(result)
    del result["likelihood"]
    text = printed(result)
    assert "no likelihood: supervised is no probabilistic model" in text and "ELBO" not in text


def test_the_note_on_mixed_sequences_is_for_models_that_are_not_trained_on_them() -> None:
    result = result_of("supervised")
    assert "this mode is not trained on" in " ".join(printed(result).split())
    result["model"]["trained_on"] = "mixed"
    assert "not trained on" not in " ".join(printed(result).split())


def test_codes_are_printed() -> None:
    result = result_of("weak")
    result["codes"] = {
        "factors": ["scaling", "hue"],
        "images": 6,
        "frames": 2000,
        "dci": {"disentanglement": 0.25, "completeness": 0.5, "informativeness": {"scaling": 0.111, "hue": None}},
        "mig": {"score": 0.125, "per_factor": {"scaling": 0.222, "hue": 0.333}},
        "linear_probe": {"scaling": 0.444, "hue": -1.5, "mean": 0.75},
        "method": {"linear_probe": "how it is done"},
    }
    text = printed(result)
    found = rows(text, "Factors in the latent code")
    numbers = {"scaling": ["0.222", "0.111", "0.444"], "hue": ["0.333", "n/a", "-1.500"]}
    assert found == numbers | {"all": ["0.125", "n/a", "0.750"]}
    line = "MIG 0.125, disentanglement 0.250, completeness 0.500, mean R² 0.750"
    assert line in " ".join(text.split()) and "linear probe: how it is done" in text
    assert "2000 frames of 6 images" in text and max(map(len, text.splitlines())) <= 80


def test_speeds_that_do_not_vary_ask_for_no_correlation() -> None:
    result = uncalibrated()
    truth = np.zeros((2, 4, 2))
    truth[0, :, 0] = truth[1, :, 1] = 1.0
    result["alignment"] = align(truth, truth, ["walk", "slash"])
    result["criteria"] = criteria_of({"alignment": result["alignment"]})
    assert not result["alignment"]["graded"] and all(line["reached"] for line in result["criteria"])
    text = printed(result)
    assert text.count("every true speed is the same") == 1 and "speed correlation" not in text
    truth[0, 0, 0] = 1.5
    assert align(truth, truth, ["walk", "slash"])["graded"]


@pytest.mark.parametrize("mode", ["supervised", "weak", "unsupervised"])
def test_it_fits_80_columns_without_cutting_anything(mode: str) -> None:
    result = result_of(mode, objective=ObjectiveConfig(bound="paper", density="trace"))
    result["equivariance"] = dict(zip(("scaling", "rotation", "hue"), result["equivariance"].values(), strict=True))
    result["data"] |= {"name": "mnist", "protocol": "ffrl"}
    for kinds in result["equivariance"].values():  # as long as they can be
        kinds["flow"]["seven_step_sum"] = kinds["flow"]["full_sum"] = {"mean": 16464.123, "standard_error": 123.456}
        kinds["flow"]["mean_per_frame"] = {"mean": 2352.0, "standard_error": 12.34}
    for entry in result["likelihood"]["likelihoods"].values():
        entry["elbo"] = entry["iwae"] = {"mean": -23520.12, "standard_error": 123.45}
    text = printed(result)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.count("16,464.12 ± 123.46") == 6 and text.count("│ -23,520.12 ± 123.45") == 6
    assert "(no" in text and "no bound" in result["likelihood"]["paper"]["note"]
    assert "legacy_score" in text and "not a likelihood" in text
    assert "stochastic" in text


def perfect(fields: int) -> dict:
    """A result whose alignment is a permutation among silent fields."""
    result = uncalibrated()
    generator = np.random.default_rng(0)
    truth = np.where(generator.random((40, 8, 3)) < 0.3, generator.uniform(0.5, 1.5, (40, 8, 3)), 0.0)
    speeds = np.zeros((40, 8, fields))
    speeds[..., [fields - 1, 0, 1]] = truth
    result["alignment"] = align(speeds, truth, ["scaling", "rotation", "hue"])
    result["criteria"] = criteria_of({"alignment": result["alignment"]})
    result["model"]["num_fields"] = fields
    return result


@pytest.mark.parametrize("fields", [3, 6, 12, 24])
def test_matched_cells_are_marked_and_bold(fields: int) -> None:
    result = perfect(fields)
    text = printed(result)
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    for name, field in zip(("scaling", "rotation", "hue"), (fields - 1, 0, 1), strict=True):
        value = f"{result['alignment']['matrix'][('scaling', 'rotation', 'hue').index(name)][field]:.3f}*"
        assert text.count(value) >= 1
    assert text.count("* │") == 3 or text.count("*│") + text.count("* │") == 3
    assert len(re.findall(r"\x1b\[1m[\d.]+\*", printed(result, styled=True))) == 3


def criteria_lines(result: dict) -> list[str]:
    return [flat(line) for line in printed(result).splitlines() if re.search("reached +│", line)]


def test_each_criterion_is_one_line_with_its_verdict() -> None:
    result = perfect(6)
    lines = criteria_lines(result)
    assert len(lines) == 5 and not any("not reached" in line for line in lines)
    result["alignment"]["transformations"]["hue"] |= {"share": 0.9, "speed_correlation": None}
    result["alignment"]["unmatched"][0]["mean"] = 0.3
    result["criteria"] = criteria_of({"alignment": result["alignment"]})
    lines = criteria_lines(result)
    assert ["not reached" in line for line in lines] == [True, True, False, True, False]
    assert "at least 0.98" in lines[0] and "0.9000" in lines[0]
    assert "at most 0.01" in lines[1] and "0.3000" in lines[1]
    assert "undefined" in lines[3] and lines[4] == "│ fields alive │ exactly 3 │ 3 │ reached │"
    result["criteria"] = criteria_of({"alignment": result["alignment"], "calibration": {"pooled": {"ece": 0.0312}}})
    assert criteria_lines(result)[-1] == "│ pooled calibration error │ at most 0.03 │ 0.0312 │ not reached │"


@pytest.mark.parametrize("calibrated", [False, True])
def test_speeds_and_their_calibration_are_printed(calibrated: bool) -> None:
    result = perfect(3)
    generator = np.random.default_rng(0)
    truth = np.where(generator.random((40, 8, 3)) < 0.3, generator.uniform(0.5, 1.5, (40, 8, 3)), 0.0)
    truth[..., 2] = truth[..., 2] != 0
    speeds = np.where(truth != 0, truth + 0.125, 0.0)
    result["alignment"] = align(speeds, truth, NAMES[:3])
    if calibrated:
        result["calibration"] = calibrate(0.1 + 0.8 * (truth != 0), speeds, 0.1 + 0 * truth, truth, result["alignment"])
    text = printed(result)
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    speeds = rows(text, "Which field does what, on mixed sequences, continued")
    assert speeds[NAMES[0]][-1] == "0.125" and speeds[NAMES[2]][-1] == "n/a" and "in unit steps" in flat(text)
    assert ("as sure as it should be" in text) == calibrated
    if calibrated:
        cells = rows(text, "Is the model as sure as it should be")
        assert cells[NAMES[0]][::2] == ["0.1000", "0.0 %"] and cells[NAMES[0]][3] == "100.0 %"
        assert cells[NAMES[2]][0] == "0.1000" and cells[NAMES[2]][2:] == ["n/a", "n/a"]
        assert cells["target"] == ["≤ 0.03 pooled", "", "68.3 %", "95.4 %"]
    assert f"Speeds n/a ({NAMES[2]}): true and inferred" in flat(text)
    assert "Fields alive, with a mean |g| above 0.01: 3; transformations: 3." in flat(text)


def test_a_transformation_without_a_field_has_a_line_without_numbers() -> None:
    result = perfect(3)
    truth = np.eye(2)[None] * [1.0, 2.0]
    found = result["alignment"] = align(0 * truth, truth, ["walk", "slash"])
    result["calibration"] = calibrate(truth / 2, 0 * truth, truth, truth, found)
    lines = rows(printed(result), "Is the model as sure as it should be")
    assert lines["walk"] == lines["all pooled"] == ["n/a", "0", "n/a", "n/a"]
    assert "Speeds n/a (walk, slash)" in printed(result)


def test_what_is_undefined_is_printed_as_such() -> None:
    result = uncalibrated()
    truth = np.zeros((1, 4, 2))
    truth[..., 0] = 1.0
    result["alignment"] = align(np.zeros((1, 4, 2)), truth, ["scaling", "rotation"])
    result["criteria"] = criteria_of({"alignment": result["alignment"]})
    result["likelihood"]["likelihoods"]["gaussian-1"]["elbo"] = {"mean": None, "standard_error": None}
    for kinds in result["equivariance"].values():
        kinds["flow"]["seven_step_sum"] = None
    text = printed(json.loads(json.dumps(result)))
    assert "n/a" in text and "none" in text and "nan" not in text.lower() and "None" not in text


def test_the_confusion_shows_counts_and_accuracy() -> None:
    result = result_of("weak")
    result["confusion"]["accuracy"] = 0.91234
    text = printed(result)
    assert "0.9123" in text
    assert sum(text.count(f" {row[k]}* ") for row in result["confusion"]["counts"] for k in range(3)) >= 1
