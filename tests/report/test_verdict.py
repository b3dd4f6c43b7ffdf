"""The verdict: known cases with known right sentences, in all modes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from engine_tiny import tiny_config
from visualize_tools import SIZE

from cli.flags import flags_of
from ffrl.config import DataConfig
from ffrl.data import load
from ffrl.evaluation.evaluate import evaluate
from ffrl.evaluation.matching import align
from ffrl.evaluation.measures.calibration import calibrate
from ffrl.evaluation.measures.confusion import confusion
from ffrl.evaluation.protocol.statistics import plain
from ffrl.evaluation.registry import criteria_of
from ffrl.models.interface import WithFields
from stf.plot.compute.search_log import read_search
from stf.registry import MODES
from stf.report.reading import Mean, blind, read_errors
from stf.report.verdict import Circumstances, Verdict, verdict
from stf.run import build_model

NAMES = ("scaling", "hue")
SEARCHED = Circumstances("runs/a run", 100, 100, seed=3, searched=True)
TOLD = replace(SEARCHED, searched=False)


def errors(**means: float) -> dict[str, Any]:
    """Errors with a standard error of 1."""
    return {kind: {"mean_per_frame": {"mean": mean, "standard_error": 1.0}} for kind, mean in means.items()}


GOOD = errors(flow=60.0, reconstruction=40.0, copy=190.0, raw_copy=180.0)
SHARP = errors(flow=42.0, reconstruction=40.0, copy=190.0, raw_copy=180.0)
STILL = errors(flow=180.0, reconstruction=40.0, copy=190.0, raw_copy=180.0)
BLIND = errors(flow=253.0, reconstruction=249.0, copy=249.0, raw_copy=155.0)


def measured(
    count: int, /, prediction: Mapping[str, Any] = GOOD, mode: str = "unsupervised", trained: str = "mixed", **more: Any
) -> dict[str, Any]:
    names = list(NAMES) if {"alignment", "confusion", "equivariance"} & more.keys() else []
    return {
        "sequences": 500,
        "model": {"mode": mode, "num_fields": count, "trained_on": trained, "prediction": "the decoded flow"},
        "data": {"name": "mnist", "transformations": names},
        "prediction": {"activity": "given" if mode == "supervised" else "inferred", **prediction},
        **more,
    }


def activity(seed: int = 0) -> np.ndarray:
    """True speeds of two transformations, (100, 4, 2)."""
    generator = np.random.default_rng(seed)
    return np.where(generator.random((100, 4, 2)) < 0.4, generator.uniform(0.5, 1.5, (100, 4, 2)), 0.0)


def aligned(inferred: np.ndarray, truth: np.ndarray | None = None, sure: float | None = None, **more: Any) -> dict:
    truth = activity() if truth is None else truth
    found = align(inferred, truth, NAMES)
    made = None
    if sure is not None:
        deviation = np.full(inferred.shape, 0.1)
        made = calibrate(np.where(inferred != 0, sure, 1 - sure), inferred, deviation, truth, found)
    calibration = {} if made is None else {"calibration": made}
    criteria = criteria_of({"alignment": found} | calibration)
    return measured(inferred.shape[-1], alignment=found, criteria=criteria, **calibration, **more)


def in_fields(truth: np.ndarray, fields: int) -> np.ndarray:
    """Speeds of K fields, of which the last two do the transformations."""
    return np.concatenate([np.zeros((*truth.shape[:-1], fields - 2)), truth], -1)


def used(*on: float, growth: Sequence[float], fields: int = 6, **more: Any) -> dict[str, Any]:
    entries = [
        {"field": k, "on": share, "silent": share < 0.01, "growth": {"mean": grown, "standard_error": 1.0}}
        for k, (share, grown) in enumerate(zip(on, growth, strict=True))
    ]
    return measured(fields, fields=entries, **more)


def halved(truth: np.ndarray) -> np.ndarray:
    """Each transformation is done by one field in half of the sequences, and by another in the others."""
    first = np.arange(len(truth))[:, None, None] % 2 == 0
    return np.concatenate([np.where(first, truth, 0), np.where(first, 0, truth)], -1)


def both_by_one(truth: np.ndarray) -> np.ndarray:
    return np.stack([truth.sum(-1), 0 * truth[..., 0], 0 * truth[..., 0]], -1)


TRUTH = activity()
SINGLE = {name: errors(flow=30.0, reconstruction=20.0, copy=100.0) for name in NAMES}
LOST = {name: errors(flow=99.5, reconstruction=20.0, copy=100.0) for name in NAMES}
WHICH = [0, 1] * 50

CASES: dict[str, tuple[dict[str, Any], Circumstances, list[str], list[str]]] = {
    # name: evaluation, circumstances, what is said among other things, what to do next in order (beginnings)
    "all is found": (
        aligned(in_fields(TRUTH, 5)),
        SEARCHED,
        [
            "Each of the 2 transformations has a field of its own; 2 of 5 fields are alive.",
            "Field 3 does scaling: 100 % of the activity while only it acts, spike F1 1.000, speeds r = 1.00.",
            "Predicting beats standing still: the first frame, moved by the activity inferred from the whole sequence, "
            "is off by an L1 error of 60 per frame, standing still by 180, and the true frames encoded and decoded "
            "by 40.",
        ],
        ["Train with another seed (--seed 4)"],
    ),
    "encoder and decoder limit it": (
        aligned(in_fields(TRUTH, 5), prediction=SHARP),
        SEARCHED,
        [],
        ["Train longer (--steps 200): most of the error that is left, 40 of 42,", "Train with another seed"],
    ),
    "too many fields": (
        aligned(halved(TRUTH)),
        SEARCHED,
        [
            "The fields do not separate the transformations: 4 of 4 fields are alive, for 2 transformations.",
            "comes closest to scaling",
            "act without a transformation.",
        ],
        ["Make another attempt, with other seeds (--seed 4, --seed 5) and with more steps (--steps 200): fields and"],
    ),
    "one field too many": (
        aligned(np.concatenate([in_fields(TRUTH, 3)[..., :1] + 0.5 * (TRUTH != 0).all(-1, keepdims=True), TRUTH], -1)),
        SEARCHED,
        [
            "Each of the 2 transformations has a field of its own, but 3 of 3 fields are alive.",
            "Field 0 acts without a transformation.",
        ],
        ["Make another attempt"],
    ),
    "as many fields as transformations, mixed up": (
        aligned(TRUTH @ np.array([[1.0, 0.6], [0.6, 1.0]])),
        SEARCHED,
        ["The fields do not separate the transformations: 2 of 2 fields are alive", "comes closest to hue"],
        ["Allow more fields (--model.num-fields 5): all 2 are alive", "Make another attempt"],
    ),
    "one field for two": (
        aligned(both_by_one(TRUTH)),
        SEARCHED,
        ["The fields do not separate the transformations: 1 of 3 fields is alive", "No field responds to "],
        ["Make another attempt"],
    ),
    "fewer fields than transformations": (
        aligned(TRUTH.sum(-1, keepdims=True)),
        SEARCHED,
        ["1 of 1 fields is alive, for 2 transformations"],
        ["Allow more fields (--model.num-fields 5): 1 cannot have one for each of the 2", "Make another attempt"],
    ),
    "none is alive": (
        aligned(0 * TRUTH),
        SEARCHED,
        ["No motion was found: none of the 2 fields is alive."],
        ["Look whether anything moves"],
    ),
    "as many fields as transformations, all right": (
        aligned(TRUTH),
        SEARCHED,
        ["Each of the 2 transformations has a field of its own; 2 of 2 fields are alive."],
        ["Train with another seed"],
    ),
    "everything always moves": (
        aligned(in_fields(TRUTH + 0.2, 5), TRUTH + 0.2),
        SEARCHED,
        [],
        ["Give it sequences in which things start and stop", "Train with another seed"],
    ),
    "stopped": (
        aligned(in_fields(TRUTH, 5)),
        replace(SEARCHED, step=30),
        [],
        ["Go on with the training, which stopped at step 30 of 100: stf train --resume 'runs/a run'."],
    ),
    "nothing of the motion is in the reconstruction": (
        aligned(halved(TRUTH), prediction=BLIND),
        replace(SEARCHED, usual=6500),
        ["Predicting is worse than standing still"],
        ["Train encoder and decoder longer (--steps 6500)"],
    ),
    "no better than standing still": (
        aligned(in_fields(TRUTH, 5), prediction=STILL),
        SEARCHED,
        ["Predicting is no better than standing still, as far as these sequences tell"],
        ["Train longer (--steps 200) for better predictions: they are off by 180, of which", "Train with another seed"],
    ),
    "unknown transformations": (
        used(0.4, 0.0, 0.2, growth=(30.0, 0.0, 0.5), fields=3),
        SEARCHED,
        [
            "2 of 3 fields are alive; which transformations really act is not known",
            "Field 0 acts at 40 % of the steps; without it the prediction gets 50 % worse.",
            "Field 2 acts at 20 % of the steps; without it the prediction gets not measurably worse.",
        ],
        ["Train with another seed"],
    ),
    "unknown, all alive": (
        used(0.4, 0.2, growth=(30.0, -20.0), fields=2),
        SEARCHED,
        ["Field 1 acts at 20 % of the steps; without it the prediction gets better."],
        ["Allow more fields (--model.num-fields 5)", "Train with another seed"],
    ),
    "unknown, always on": (
        used(1.0, 0.0, growth=(30.0, 0.0)),
        SEARCHED,
        ["1 of 6 fields is alive; "],
        ["Give it sequences", "Train with another seed"],
    ),
    "unknown, nothing": (
        used(0.0, 0.0, growth=(0.0, 0.0), fields=2),
        SEARCHED,
        ["No motion was found: none of the 2 fields is alive."],
        ["Look whether anything moves"],
    ),
    "unknown, one field throughout each sequence": (
        used(1.0, 0.0, growth=(30.0, 0.0), mode="weak", trained="single"),
        SEARCHED,
        ["1 of 6 fields is alive; "],
        ["Train with another seed"],
    ),
    "weak": (
        measured(4, mode="weak", trained="single", equivariance=SINGLE,
                 confusion=confusion([2, 1] * 50, WHICH, 4, NAMES)),
        SEARCHED,
        [
            "The right field is inferred for 100 % of the sequences; 2 of 4 fields are alive, for 2 transformations.",
            "Field 2 is inferred for 100 % of the sequences of scaling.",
            "off by an L1 error of 30 per frame, standing still by 100, and the true frames encoded and decoded by 20.",
        ],
        ["Train with another seed"],
    ),
    "weak, mixed up": (
        measured(4, mode="weak", trained="single", equivariance=SINGLE,
                 confusion=confusion([2, 2] * 50, WHICH, 4, NAMES)),
        SEARCHED,
        [
            "The fields do not separate the transformations: the right field is inferred for 50 % of the sequences; 1 "
            "of 4 fields is alive, for 2 transformations.",
            "No field is left for ",
        ],
        ["Make another attempt"],
    ),
    "supervised": (
        measured(2, mode="supervised", trained="labelled", equivariance=SINGLE),
        TOLD,
        [
            "Each field was told its transformation (scaling and hue), so that there was nothing to find.",
            "Field 1 does hue: an image moved by it is off by an L1 error of 30 per frame (not moved: 100; encoded and "
            "decoded: 20).",
            "Predicting beats standing still: the first frame, moved by the given activity,",
        ],
        ["Use it: stf transfer 'runs/a run' "],
    ),
    "supervised, not learnt": (
        measured(2, mode="supervised", trained="labelled", equivariance=LOST),
        TOLD,
        ["Field 0 does not measurably do scaling"],
        ["Train longer (--steps 200) for better predictions"],
    ),
    "a baseline without fields": (
        measured(2, mode="vae", trained="mixed", equivariance=SINGLE),
        replace(TOLD, has_fields=False),
        [
            "A model of mode vae has no vector fields, so that nothing is said of which transformation acts when",
            "Predicting beats standing still: what it predicts (the decoded flow), is off by",
        ],
        ["Compare it with a model that has fields: stf benchmark"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_known_case_has_its_right_verdict(name: str) -> None:
    evaluation, run, parts, steps = CASES[name]
    said = verdict(plain(evaluation), run)
    for part in parts:
        assert any(part in sentence for sentence in said.found), (part, said.found)
    assert len(said.next) == len(steps), said.next
    for sentence, start in zip(said.next, steps, strict=True):
        assert sentence.startswith(start), said.next
    assert "one training (seed 3), measured on 500 held-out sequences; what another seed finds" in said.sure[-1]
    assert well_formed(said)


def well_formed(said: Verdict) -> bool:
    sentences = [sentence for part in said.parts.values() for sentence in part]
    assert all(part for part in said.parts.values())
    for sentence in sentences:
        assert not sentence[0].islower() and sentence.endswith(".") and "None" not in sentence and "nan" not in sentence
    return True


@pytest.mark.parametrize(
    ("sure", "error", "words"),
    [
        (0.99, 0.0, ["As sure as it should be", "off by 0.010 on average; too unsure of speeds: 100 % of the true"]),
        (0.8, 0.0, ["Not as sure as it should be", "off by 0.200 on average"]),
        (0.99, 0.1, ["As sure as it should be", "average; as sure as it should be of speeds: 68 % of the true"]),
        (0.99, 0.5, ["As sure as it should be", "too sure of speeds: 17 % of the true ones"]),
    ],
)
def test_it_says_whether_the_model_is_as_sure_as_it_should_be(sure: float, error: float, words: list[str]) -> None:
    noise = error * np.random.default_rng(1).standard_normal(TRUTH.shape)
    noisy = np.where(TRUTH != 0, np.where(TRUTH + noise == 0, TRUTH, TRUTH + noise), 0)
    said = verdict(plain(aligned(in_fields(noisy, 4), sure=sure)), SEARCHED).sure[0]
    assert all(word in said for word in words), said


def test_without_a_matched_field_there_is_no_probability_to_judge() -> None:
    said = verdict(plain(aligned(0 * TRUTH, sure=0.9)), SEARCHED)
    assert said.sure[0].startswith("No field matches a transformation") and well_formed(said)


def test_missed_targets_are_named_with_their_values() -> None:
    said = verdict(plain(aligned(both_by_one(TRUTH))), SEARCHED)
    (targets,) = (sentence for sentence in said.sure if "targets" in sentence)
    assert targets.startswith("Of 5 targets 4 are missed: share of the matched field 0 (at least 0.98); spike F1 0 (at")
    assert "fields alive 1 (exactly 2)" in targets


@pytest.mark.parametrize(
    ("made", "refused", "words"),
    [
        ([0.04], [0.9], "were clear: the costliest move that was made has the ratio 0.04 and the cheapest move"),
        ([0.32], [1.2], "were close, so that another seed may decide otherwise: "),
        ([0.04], [0.5], "were close, "),
        ([], [1.0], "were clear: the cheapest move that was refused has the ratio 1 "),
        ([0.1], [], "were clear: the costliest move that was made has the ratio 0.1 (accepted is less than 0.3"),
        ([], [], None),
    ],
)  # fmt: skip
def test_it_says_how_close_the_decisions_of_the_search_were(
    made: list[float], refused: list[float], words: str | None
) -> None:
    moves = [{"move": "start", "fields": [], "alive": [0, 1, 2], "accepted": True}]
    moves += [{"move": "merge", "fields": [0, 1], "alive": [0, 2], "ratio": ratio, "accepted": True} for ratio in made]
    moves += [{"move": "delete", "fields": [0], "alive": [0, 2], "ratio": one, "accepted": False} for one in refused]
    ended = [*moves, {"move": "end", "fields": [], "alive": [0, 2], "accepted": True}]
    search, cut = (read_search([{"step": 1, "search": move} for move in log]) for log in (ended, moves))
    run = replace(SEARCHED, search=search, accept=(0.3, 0.4))
    said = [one for one in verdict(plain(aligned(in_fields(TRUTH, 5))), run).sure if "decisions" in one]
    assert len(said) == (words is not None) and all(words in one for one in said), said
    unfinished = verdict(plain(aligned(in_fields(TRUTH, 5))), replace(run, search=cut)).sure
    assert "The search for the fields has not come to its end." in unfinished


def test_of_two_searches_the_second_counts() -> None:
    def log(alive: list[int], ratio: float) -> list[dict[str, Any]]:
        said = {"fields": [0, 1], "alive": alive, "accepted": True}
        return [{"move": "start"} | said, {"move": "merge", "ratio": ratio} | said, {"move": "end"} | said]

    def decisions(moves: list[dict[str, Any]]) -> str:
        search = read_search([{"step": 1, "search": move} for move in moves])
        run = replace(SEARCHED, search=search, accept=(0.3, 0.4))
        return " ".join(verdict(plain(aligned(in_fields(TRUTH, 5))), run).sure)

    same, other = decisions(log([0, 2], 0.32) + log([0, 2], 0.1)), decisions(log([0], 0.32) + log([0, 2], 0.1))
    assert "has the ratio 0.1 " in same and "were clear" in same and "The first search" not in same
    assert "were clear" in other and "had ended with 1 field; the second one, on those of joint" in other
    assert "were close" in decisions(log([0, 2], 0.32))


def test_steps_of_transformations_are_named() -> None:
    run = replace(SEARCHED, unit_steps={"scaling": "scale + 0.1"})
    found = verdict(plain(aligned(in_fields(TRUTH, 5))), run).found
    assert found[1].startswith("Field 3 does scaling (one step: scale + 0.1): ")
    assert found[2].startswith("Field 4 does hue: ")


@pytest.mark.parametrize("prediction", [BLIND, errors(flow=190.0, reconstruction=90.0, copy=185.0, raw_copy=180.0)])
def test_recordings_that_stand_still_are_told_what_helps(prediction: Mapping[str, Any]) -> None:
    found = used(0.4, growth=(20.0,), prediction=prediction)
    assert not any("--data.sequences" in one for one in verdict(found, SEARCHED).next)
    said = " ".join(verdict(found | {"data": {"name": "sequences", "transformations": []}}, SEARCHED).next)
    flags = set(re.findall(r"--data\.sequences\.[\w-]+", said))
    assert flags == {f"--data.sequences.{name}" for name in ("static", "follow", "stride", "dense", "fps")}
    assert flags <= flags_of(MODES["unsupervised"].config).keys()
    good = found | {"data": {"name": "sequences", "transformations": []}, "prediction": {"activity": "inferred"} | GOOD}
    assert not any("--data.sequences" in one for one in verdict(good, SEARCHED).next)


@pytest.mark.parametrize(
    ("empty", "words"),
    [
        (90.0, "The background alone, without anything that moves, is off by 90."),
        (50.0, "The background alone is off by no more than 50: what moves is not predicted."),
    ],
)
def test_the_background_alone_is_judged_too(empty: float, words: str) -> None:
    found = used(0.4, growth=(20.0,), prediction=GOOD | errors(background=empty))
    assert verdict(found, SEARCHED).found[-1].endswith(words)
    assert "background" not in verdict(used(0.4, growth=(20.0,)), SEARCHED).found[-1]


def test_few_sequences_are_called_rough_and_one_tells_nothing() -> None:
    few = aligned(in_fields(TRUTH, 5)) | {"sequences": 20}
    assert "on 20 held-out sequences, too few for more than rough numbers;" in verdict(plain(few), SEARCHED).sure[-1]
    one = plain(aligned(in_fields(TRUTH, 5)))
    for kind in ("flow", "copy", "raw_copy"):
        one["prediction"][kind]["mean_per_frame"]["standard_error"] = None
    assert "is no better than standing still, as far as these sequences tell" in verdict(one, SEARCHED).found[-1]


def test_a_run_in_memory_goes_on_from_python() -> None:
    evaluation, run = CASES["too many fields"][:2]
    evaluation = evaluation | {"data": evaluation["data"] | {"name": "arrays"}}
    (step,) = verdict(plain(evaluation), replace(run, step=1)).next
    assert step.endswith("stopped at step 1 of 100: stf.fit(..., resume=True) with the same arguments.")
    (again,) = verdict(plain(evaluation), run).next
    assert again.startswith("Make another attempt, with other seeds (seed=4, seed=5) and with more steps (steps=200): ")
    unknown = plain(used(0.4, 0.2, growth=(30.0, -20.0), fields=2))
    unknown["data"]["name"] = "arrays"
    assert verdict(unknown, SEARCHED).next[0].startswith('Allow more fields (model={"num_fields": 5}): ')


def test_a_transformation_that_never_acts_is_not_judged() -> None:
    truth = TRUTH * [1, 0]
    said = verdict(plain(aligned(in_fields(truth, 4), truth)), SEARCHED)
    assert any(sentence.startswith("No field responds to hue.") or "Of hue nothing can be said" in sentence
               for sentence in said.found) and well_formed(said)  # fmt: skip


def test_means_differ_only_beyond_chance() -> None:
    assert Mean(10.0, 1.0).exceeds(Mean(7.0, 1.0)) and not Mean(9.5, 1.0).exceeds(Mean(7.0, 1.0))
    assert not Mean(10.0, None).exceeds(Mean(0.0, 0.0)) and not Mean(7.0, 1.0).exceeds(Mean(10.0, 1.0))


def test_errors_are_of_the_kind_of_sequences_that_the_model_was_trained_on() -> None:
    kinds = {"scaling": errors(flow=30.0, reconstruction=20.0, copy=100.0),
             "hue": errors(flow=50.0, reconstruction=40.0, copy=60.0)}  # fmt: skip
    single = read_errors(measured(2, trained="labelled", equivariance=kinds))
    assert [one.mean for one in (single.flow, single.reconstruction, single.still)] == [40.0, 30.0, 80.0]
    assert single.flow.standard_error == 1.0
    mixed = read_errors(measured(2, trained="mixed", equivariance=kinds))
    assert [one.mean for one in (mixed.flow, mixed.reconstruction, mixed.still)] == [60.0, 40.0, 180.0]
    assert blind(measured(2)) is None and blind(measured(2, prediction=BLIND)) == (249.0, 155.0)
    one = {kind: {"mean_per_frame": entry["mean_per_frame"] | {"standard_error": None}} for kind, entry in GOOD.items()}
    assert blind(measured(1, prediction=one)) is None, "less is less, also of a single sequence"


def test_nothing_is_said_against_fields_of_what_never_acts() -> None:
    truth = activity()
    truth[..., 1] = 0
    said = verdict(aligned(truth, truth), TOLD)
    assert any("Of hue nothing can be said" in line for line in said.found)
    assert not any("No field responds" in line or "do not separate" in line for line in said.found)
    said = verdict(aligned(activity(), 0 * truth), TOLD)
    assert said.found[0].startswith("Nothing can be said of the fields") and well_formed(said)


@pytest.mark.parametrize("mode", list(MODES))
def test_every_mode_gets_a_verdict(mode: str) -> None:
    config = tiny_config(mode)
    large = {"tvae": {"latent_dim": 36}, "msp": {"latent_dim": 256}}.get(mode, {})
    config = replace(config, model=replace(config.model, **SIZE | large))
    with torch.no_grad():
        model = build_model(config, (3, 28, 28)).eval()
        evaluation = evaluate(model, load(DataConfig(num_steps=config.data.num_steps)), sequences=6, samples=2)
    has_fields = isinstance(model, WithFields)
    said = verdict(evaluation, replace(TOLD, has_fields=has_fields))
    assert well_formed(said)
    assert ("no vector fields" in said.found[0]) == (not has_fields)
