"""The evaluation as a whole: contents, determinism, no side effects, refusals."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from evaluation_standins import ShiftedPictures, ShiftedStates, UnknownPictures, small
from exact_tools import awaken
from lacking import lack
from torch import Tensor

from ffrl.config import ObjectiveConfig, SupervisedConfig
from ffrl.core.errors import UserError
from ffrl.core.seed import generator
from ffrl.data.base import SequenceBatch
from ffrl.distributions.pixels import gaussian_upper_bound
from ffrl.evaluation.evaluate import evaluate
from ffrl.evaluation.likelihood.estimate import bounds, draw, log_weights
from ffrl.evaluation.likelihood.pixels import likelihoods
from ffrl.evaluation.matching import strongest_part
from ffrl.evaluation.measures.equivariance import frame_errors, summarise
from ffrl.evaluation.protocol.sequences import DEFAULT, batch_size, choose, mixed_batches, single_batches
from ffrl.evaluation.protocol.statistics import estimate, plain
from ffrl.models.activity import ActivityKind
from stf.config import UnsupervisedConfig

MODES = ("supervised", "weak", "unsupervised")


@pytest.mark.parametrize("mode", MODES)
def test_everything_is_there_and_plain(mode: str) -> None:
    data, model = ShiftedPictures(), small(mode)
    result = evaluate(model, data, "validation", seed=3, sequences=10, samples=3)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert (result["split"], result["seed"], result["sequences"], result["samples"]) == ("validation", 3, 10, 3)
    assert result["model"]["mode"] == mode
    assert result["model"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert result["data"]["num_steps"] == 8 and result["data"]["transformations"] == list(data.transformations)
    assert set(result["equivariance"]) == set(data.transformations)
    for kinds in result["equivariance"].values():
        assert set(kinds) == {"flow", "reconstruction", "copy"}
        assert kinds["flow"]["seven_step_sum"]["mean"] > 0
        assert kinds["flow"]["per_frame"]["mean"][0] == pytest.approx(kinds["copy"]["per_frame"]["mean"][0])
    likelihood = result["likelihood"]
    assert likelihood["sequences"] == ("mixed" if mode == "unsupervised" else "single")
    given = "log p(frames | transformation)"
    assert likelihood["quantity"] == (given if mode == "supervised" else "log p(frames)")
    assert list(likelihood["likelihoods"]) == ["gaussian-1", "laplace-0.3", "bernoulli"]
    assert likelihood["trained_with"] == "laplace-0.3" and "paper" not in likelihood
    gaussian = likelihood["likelihoods"]["gaussian-1"]
    assert gaussian["elbo"]["mean"] < gaussian["iwae"]["mean"] < gaussian["upper_bound"] == gaussian_upper_bound(16)
    assert "never compare" in likelihood["likelihoods"]["bernoulli"]["note"]
    assert "not a likelihood" in likelihood["legacy_score"]["note"]
    assert ("confusion" in result) == (mode == "weak")
    assert ("alignment" in result) == ("criteria" in result) == (mode == "unsupervised")
    assert result["prediction"]["activity"] == ("given" if mode == "supervised" else "inferred")
    assert "fields" not in result and result["data"]["title"] == "shifted pictures"
    assert result["model"]["trained_on"] == model.trained.sequences
    assert result["model"]["prediction"] == model.prediction
    assert not {"extrapolation", "composition", "switching", "codes"} & set(result), "there are no states"


@pytest.mark.parametrize("mode", MODES)
def test_the_prediction_is_measured_on_mixed_sequences(mode: str) -> None:
    data, model = ShiftedPictures(), small(mode)
    found = evaluate(model, data, seed=2, sequences=12, samples=1)["prediction"]
    (batch,) = mixed_batches(data, "validation", choose(data, "validation", 12, 2), 2)
    with torch.no_grad():
        g = batch.activity if mode == "supervised" else model.infer(batch.frames)
        errors = frame_errors(model, batch.frames, g)
    for kind in ("flow", "reconstruction", "copy"):
        assert found[kind]["per_frame"]["mean"] == pytest.approx(getattr(errors, kind).mean(0).tolist())
    raw = (batch.frames[:, :1] - batch.frames).abs().sum((-3, -2, -1)).double()
    assert found["raw_copy"]["full_sum"]["mean"] == pytest.approx(raw.sum(1).mean().item())
    assert found["raw_copy"]["per_frame"]["mean"][0] == 0 < found["raw_copy"]["mean_per_frame"]["mean"]


@pytest.mark.parametrize("control", ["weak", "single", "separate"])
@pytest.mark.parametrize("steps", [3, 8])
def test_unknown_transformations_leave_prediction_and_fields(control: str, steps: int) -> None:
    data = UnknownPictures(steps)
    model = small("weak", data) if control == "weak" else small("unsupervised", data, control=control)
    (batch,) = mixed_batches(data, "validation", choose(data, "validation", None, 0), 0)
    awaken(model, batch.frames)
    ticks = []
    result = evaluate(model, data, samples=2, progress=lambda done, total: ticks.append((done, total)))
    assert json.loads(json.dumps(result, allow_nan=False)) == result and ticks == [(1, 1)]
    assert not {"equivariance", "alignment", "criteria", "confusion"} & set(result)
    assert result["likelihood"]["sequences"] == "real" and result["data"]["transformations"] == []
    assert (result["prediction"]["flow"]["seven_step_sum"] is None) == (steps < 7)
    with torch.no_grad():
        g = model.infer(batch.frames)
        speeds = strongest_part(g.numpy(), 3)
        whole = frame_errors(model, batch.frames, g).flow[:, 1:].mean(1)
        for field, found in enumerate(result["fields"]):
            others = g.clone()
            others[..., field::3] = 0
            growth = frame_errors(model, batch.frames, others).flow[:, 1:].mean(1) - whole
            assert found["field"] == field
            assert found["growth"] == pytest.approx(estimate(growth), abs=1e-6)
            assert found["on"] == pytest.approx((speeds[..., field] != 0).mean())
            assert found["mean"] == pytest.approx(np.abs(speeds[..., field]).mean())
    assert any(found["growth"]["mean"] != 0 for found in result["fields"])


@pytest.mark.parametrize("mode", MODES)
def test_states_give_extrapolation_composition_and_switching_and_change_nothing_else(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    class Moving(ShiftedStates):
        graded = True

    data, model, ticks = Moving(), small(mode), []
    monkeypatch.setattr("ffrl.evaluation.protocol.sequences.MAX_BATCH", 5)
    monkeypatch.setattr("ffrl.evaluation.measures.composition.MOST_IMAGES", 7)
    result = evaluate(model, data, samples=2, progress=lambda done, total: ticks.append((done, total)))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    total = 3 * 3 + 3 * (1 if mode == "unsupervised" else 2) + 3 + 2
    assert ticks == [(i, total) for i in range(1, total + 1)]
    inferred = "given" if mode == "supervised" else "inferred"
    for key in ("extrapolation", "composition", "switching"):
        assert result[key]["sequences"] == 7 and result[key]["activity"].startswith(inferred)
    assert result["sequences"] == 12 and len(result["switching"]["pairs"]) == 6
    monkeypatch.setattr("ffrl.evaluation.protocol.needs.prescribable", lambda data: False)
    before = evaluate(model, data, samples=2)
    assert result == before | {key: result[key] for key in ("extrapolation", "composition", "switching")}
    few = choose(data, "validation", None, 0)[:7]
    batch = data.single("validation", few, torch.zeros(7, dtype=torch.long))
    with torch.no_grad():
        g = batch.activity if mode == "supervised" else model.infer(batch.frames)
        expected = summarise(frame_errors(model, batch.frames, g).copy)
    found = result["extrapolation"]["transformations"]["change 0"]["copy"]["l1"]["per_frame"]["mean"]
    assert found[:9] == pytest.approx(expected["per_frame"]["mean"], rel=1e-5), "of the first images that were chosen"


def test_one_transformation_has_no_other_to_go_with() -> None:
    data = ShiftedStates(shift=(0.04,), limit=(99.0,))
    result = evaluate(small("supervised", num_fields=1), data, samples=1)
    assert "extrapolation" in result and not {"composition", "switching"} & set(result)


def unlikely(mode: str = "unsupervised"):
    """A model that is no probabilistic one and whose activity is not one of fields."""
    model = small(mode)
    model.activity_model.kind = ActivityKind.OPAQUE
    return lack(model, "conditional")


@pytest.mark.parametrize("trained_on", ["mixed", "single"])
def test_a_model_without_likelihood_or_fields_is_measured_by_its_predictions(
    monkeypatch: pytest.MonkeyPatch, trained_on: str
) -> None:
    monkeypatch.setattr(UnsupervisedConfig, "sequences", trained_on)
    ticks = []
    model, data = unlikely(), ShiftedPictures()
    result = evaluate(model, data, progress=lambda done, total: ticks.append((done, total)))
    assert ticks == [(i, 4) for i in range(1, 5)]
    assert not {"likelihood", "alignment", "criteria", "fields", "confusion"} & set(result)
    usual = evaluate(small("unsupervised"), data)
    assert all(result[key] == usual[key] for key in ("equivariance", "prediction"))
    result = evaluate(model, UnknownPictures())
    assert not {"likelihood", "alignment", "fields"} & set(result) and "prediction" in result


def test_given_activity_is_scored_on_what_the_model_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SupervisedConfig, "sequences", "mixed")
    data, model = ShiftedPictures(), small("supervised")
    result = evaluate(model, data, seed=1, samples=3)
    likelihood = result["likelihood"]
    assert likelihood["sequences"] == "mixed" and likelihood["quantity"] == "log p(frames | activity)"
    assert not {"alignment", "criteria", "confusion"} & set(result)
    (batch,) = mixed_batches(data, "validation", choose(data, "validation", None, 1), 1)
    with torch.no_grad():
        draws = draw(model, batch.frames, 3, generator("cpu", 1, "evaluation-draws", 0), batch.activity)
        scores = {score.name: score for score in likelihoods(model.trained.objective)}
        found = bounds(log_weights(model, batch.frames, draws, scores), 9)
    for name, entry in likelihood["likelihoods"].items():
        assert entry["elbo"]["mean"] == pytest.approx(found[name]["elbo"].mean().item())


def test_codes_are_measured_on_request_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    import ffrl.evaluation.measures.codes

    data, model, calls = ShiftedPictures(), small("weak"), []

    def measure_codes(*arguments: object) -> dict:
        calls.append((*arguments, model.training))
        return {"mig": float("nan")}

    monkeypatch.setattr(ffrl.evaluation.measures.codes, "measure_codes", measure_codes)
    ticks = []
    model.train()
    result = evaluate(model, data, seed=4, sequences=5, samples=1, codes=True, progress=lambda *_: ticks.append(calls))
    assert result["codes"] == {"mig": None} and ticks[0]
    ((measured, on, split, indices, seed, training),) = calls
    assert (measured, on, split, seed, training) == (model, data, "validation", 4, False) and model.training
    assert torch.equal(indices, choose(data, "validation", 5, 4))


def test_a_supervised_model_needs_known_transformations() -> None:
    with pytest.raises(UserError, match="num-fields: found 3, expected 0"):
        evaluate(small("supervised"), UnknownPictures())


def test_the_equivariance_error_is_that_of_the_given_or_inferred_activity() -> None:
    data = ShiftedPictures()
    for mode in MODES:
        model = small(mode)
        result = evaluate(model, data, sequences=12, samples=1)
        for j, name in enumerate(data.transformations):
            batch = data.single("validation", choose(data, "validation", 12, 0), torch.full((12,), j))
            with torch.no_grad():
                g = batch.activity if mode == "supervised" else model.infer(batch.frames)
                expected = summarise(frame_errors(model, batch.frames, g).flow)
            assert result["equivariance"][name]["flow"]["full_sum"] == pytest.approx(expected["full_sum"])


@pytest.mark.parametrize("steps", [4, 7])
def test_the_length_of_the_sequences_is_the_one_of_the_data(steps: int) -> None:
    data = ShiftedPictures(num_steps=steps)
    result = evaluate(small("weak", data), data, samples=1)
    for kinds in result["equivariance"].values():
        assert len(kinds["flow"]["per_frame"]["mean"]) == steps + 1
        assert (kinds["flow"]["seven_step_sum"] is None) == (steps < 7)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_gives_the_same_numbers_and_no_global_state_matters_or_changes(mode: str) -> None:
    data, model = ShiftedPictures(), small(mode)
    results = []
    for number in range(2):
        torch.manual_seed(number), np.random.seed(number), random.seed(number)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        results.append(evaluate(model, data, seed=5, sequences=8, samples=2))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1]) and random.getstate() == before[2]
    assert results[0] == results[1]
    other = evaluate(model, data, seed=6, sequences=8, samples=2)
    first = results[0]
    for key in ("elbo", "iwae"):
        found = [x["likelihood"]["likelihoods"]["gaussian-1"][key]["mean"] for x in (first, other)]
        assert found[0] != found[1]
    assert other["equivariance"] != first["equivariance"], "another seed takes other images"
    if mode == "unsupervised":
        assert other["alignment"] != first["alignment"]


@pytest.mark.parametrize("mode", MODES)
def test_the_model_is_left_as_it_was(mode: str) -> None:
    data, model = ShiftedPictures(), small(mode)
    model.train()
    model.decoder.eval()
    seen = []
    model.encoder.register_forward_hook(lambda module, *_: seen.append((module.training, torch.is_grad_enabled())))
    modes = [module.training for module in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(model, data, sequences=4, samples=1)
    assert set(seen) == {(False, False)} and torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_the_mode_is_restored_after_an_error() -> None:
    class Broken(ShiftedPictures):
        def mixed(self, split: str, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
            raise RuntimeError("broken")

    model = small("unsupervised").train()
    with pytest.raises(RuntimeError, match="broken"):
        evaluate(model, Broken(), sequences=2, samples=1)
    assert model.training and torch.is_grad_enabled()


def test_single_sequences_for_the_likelihood_cycle_through_the_transformations() -> None:
    seen: list[Tensor] = []

    class Watched(ShiftedPictures):
        def single(self, split: str, indices: Tensor, which: Tensor) -> SequenceBatch:
            seen.append(which)
            return super().single(split, indices, which)

    evaluate(small("supervised"), Watched(), sequences=7, samples=1)
    assert [which.tolist() for which in seen] == [[0] * 7, [1] * 7, [2] * 7, [0, 1, 2, 0, 1, 2, 0]]


@pytest.mark.parametrize(("density", "is_bound"), [("exact", True), ("trace", False), ("poster", False)])
def test_the_paper_objective_is_reported_with_what_it_is(density: str, is_bound: bool) -> None:
    model = small("weak", objective=ObjectiveConfig(bound="paper", density=density))
    likelihood = evaluate(model, ShiftedPictures(), sequences=6, samples=2)["likelihood"]
    assert likelihood["paper"]["is_bound"] is is_bound and likelihood["paper"]["density"] == density
    assert ("looser" if is_bound else "no bound") in likelihood["paper"]["note"]
    for entry in likelihood["likelihoods"].values():
        assert entry["paper"]["mean"] < entry["elbo"]["mean"]


def test_separate_control_is_aligned_by_the_stronger_part() -> None:
    data, model = ShiftedPictures(), small("unsupervised", control="separate")
    found = evaluate(model, data, sequences=12, samples=1)["alignment"]
    assert all(row is None or len(row) == 3 for row in found["matrix"])
    (batch,) = mixed_batches(data, "validation", choose(data, "validation", 12, 0), 0)
    with torch.no_grad():
        speeds = model.infer(batch.frames)
    assert speeds.shape[-1] == 6
    reduced = strongest_part(speeds.numpy(), 3)
    assert found["active_fields"]["inferred"] == pytest.approx((reduced != 0).sum(-1).mean())


def test_batches_do_not_change_what_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    data, model = ShiftedPictures(), small("weak")
    whole = evaluate(model, data, samples=2)
    ticks = []
    monkeypatch.setattr("ffrl.evaluation.protocol.sequences.MAX_BATCH", 5)
    parts = evaluate(model, data, samples=2, progress=lambda done, total: ticks.append((done, total)))
    assert ticks == [(i, 15) for i in range(1, 16)]
    for name in data.transformations:
        for kind in ("flow", "reconstruction", "copy"):
            found, expected = (x["equivariance"][name][kind]["full_sum"] for x in (parts, whole))
            assert found == pytest.approx(expected, rel=1e-5)
    assert parts["confusion"] == whole["confusion"] and parts["confusion"]["sequences"] == 36


def test_chosen_images_are_different_and_depend_on_the_seed() -> None:
    data = ShiftedPictures(size=1500)
    first, again, other = (choose(data, "validation", 100, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(first.unique()) == 100 and first.min() >= 0 and first.max() < 1500
    assert len(choose(data, "validation", None, 0)) == DEFAULT
    assert sorted(choose(ShiftedPictures(), "validation", None, 0).tolist()) == list(range(12))


def test_batches_cover_all_sequences_in_order() -> None:
    data = ShiftedPictures(size=300)
    indices, which = torch.arange(300), torch.arange(300) % 3
    batches = list(single_batches(data, "validation", indices, which))
    assert [len(batch.frames) for batch in batches] == [128, 128, 44]
    whole = data.single("validation", indices, which)
    assert torch.equal(torch.cat([batch.frames for batch in batches]), whole.frames)
    mixed = list(mixed_batches(data, "validation", indices, seed=0))
    assert not torch.equal(mixed[0].activity, mixed[1].activity)
    assert torch.equal(mixed[1].activity, list(mixed_batches(data, "validation", indices, seed=0))[1].activity)
    data.image_shape = (3, 512, 512)
    assert batch_size(data) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sequences": 13}, "^sequences: found 13, expected 1 to 12"),
        ({"sequences": 0}, "^sequences: found 0, expected 1 to 12"),
        ({"samples": 0}, "^samples: found 0"),
        ({"split": "test"}, "^split: found 'test'"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate(small("weak"), ShiftedPictures(), **arguments)


def test_a_model_of_other_data_is_refused() -> None:
    with pytest.raises(UserError, match="num-fields: found 4, expected 3"):
        evaluate(small("supervised", num_fields=4), ShiftedPictures())
    data = ShiftedPictures()
    data.image_shape = (1, 8, 8)
    with pytest.raises(UserError, match="^data: found 'images of shape"):
        evaluate(small("weak"), data)
    timed = small("weak", ShiftedPictures(num_steps=4), time_dependent=True)
    with pytest.raises(UserError, match="^data.num-steps: found 8, expected 4"):
        evaluate(timed, ShiftedPictures())


def test_numbers_that_are_not_finite_become_none() -> None:
    assert plain({"a": (1, float("inf")), "b": [{"c": float("nan")}], "d": "x", "e": None, "f": True}) == {
        "a": [1, None],
        "b": [{"c": None}],
        "d": "x",
        "e": None,
        "f": True,
    }


def test_a_model_that_went_wrong_is_still_reported() -> None:
    model = small("unsupervised")
    with torch.no_grad():
        model.decoder[0].weight.fill_(float("nan"))
    result = evaluate(model, ShiftedPictures(), sequences=4, samples=2)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["likelihood"]["likelihoods"]["gaussian-1"]["elbo"]["mean"] is None


def test_estimates_are_means_with_standard_errors() -> None:
    values = torch.rand(50, generator=torch.Generator().manual_seed(0))
    found = estimate(values)
    assert found["mean"] == pytest.approx(np.mean(values.numpy(), dtype=np.float64))
    assert found["standard_error"] == pytest.approx(np.std(values.numpy(), ddof=1, dtype=np.float64) / 50**0.5)
    assert all(type(value) is float for value in found.values())
