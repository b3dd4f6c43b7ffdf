"""Vectors from Python: trained, measured, opened without their data, resumed and exported, with their own units."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from run_tools import assert_same_run
from torch import Tensor, nn
from vector_tools import NAMES, vector_data, walks

import stf
from ffrl.core.errors import UserError
from ffrl.data.vectors.sequences import VectorSequences
from stf.plot.drawing import style

SMALL: dict[str, Any] = {
    "batch_size": 8,
    "quiet": True,
    "device": "cpu",
    "precision": "float32",
    "model": {"width": 16, "depth": 1, "num_fields": 3, "latent_dim": 4, "potential_width": 8},
    "discovery": {"sequences": 16, "held_out": 8},
}
GIVEN: dict[str, Any] = {key: value for key, value in SMALL.items() if key != "discovery"}


def given(values: np.ndarray, **options: Any) -> VectorSequences:
    """Sequences with activity for the supervised mode."""
    acting = np.eye(3)[np.arange(len(values)) % 3][:, None].repeat(values.shape[1] - 1, 1)
    options = {"features": NAMES, "periodic": {"heading": 360}, "validation": 0.5} | options
    return stf.data.vectors(values, acting, **options)


def some(data: VectorSequences) -> Tensor:
    return data.mixed("validation", torch.arange(4)).frames


@pytest.fixture(scope="module")
def data() -> VectorSequences:
    return vector_data(known=False, count=32)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> stf.Run:
    return stf.fit(data, steps=6, out=tmp_path_factory.mktemp("runs") / "walks", **SMALL)


def test_a_run_is_loaded_without_its_data_and_answers_bit_for_bit(run, data) -> None:
    again, x = stf.load(run.path), some(data)
    assert again.image_shape == (3,) and torch.equal(again.infer(x), run.model.infer(x))
    z = again.encode(x)
    assert torch.equal(z, run.model.encode(x)) and z.shape == (4, 5, 4) and z.isfinite().all()
    decoded = again.decode(again.flow(z[:, 0], again.infer(x)))
    assert decoded.shape == x.shape and decoded.dtype == torch.float64 and 900 < decoded[..., 0].mean() < 1100
    spec = stf.Run.open(run.path).spec
    assert spec.features == data.features and spec.features.missing
    plain = json.loads((run.path / "run.json").read_text())["data"]["features"]
    assert [one["name"] for one in plain["each"]] == list(NAMES)


def test_sequences_of_another_length_are_inferred(run) -> None:
    longer = torch.as_tensor(walks(2, length=9, missing=0.3, seed=4))
    assert run.model.infer(longer).shape == (2, 8, 3) and run.model.activity(longer).speed.isfinite().all()


def test_a_full_turn_changes_nothing(run, data) -> None:
    x = some(data)
    turned = x + torch.tensor([0.0, 0.0, -2 * 360.0])
    assert torch.allclose(run.model.encode(turned), run.model.encode(x), atol=1e-5)


def test_what_is_measured_without_and_with_activity(run) -> None:
    found = run.evaluate(sequences=8)
    assert set(found["features"]) == set(NAMES) and len(found["fields"]) == 3 and "alignment" not in found
    assert set(found["likelihood"]["likelihoods"]) == {"gaussian-learned"} and "legacy_score" not in found["likelihood"]
    assert found["data"]["features"] == list(NAMES) and "psnr" not in found["prediction"]["flow"]
    known = run.evaluate(vector_data(known=True), sequences=8)
    assert set(known["alignment"]["transformations"]) == {"scaling", "rotation", "hue"} and "fields" not in known


def test_a_report_says_nothing_of_images(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(style, "DPI", 40)
    written = {path.name for path in run.report(tmp_path, motion="none")}
    assert {"features.png", "overview.png", "traversals.png", "report.html"} <= written
    page = (tmp_path / "report.html").read_text()
    said = re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert "Error of each feature" in said and "heading" in said
    assert re.findall(r"(?i).{30}\b(?:images?|pictures?|pixels?)\b.{30}", said.replace("data.train-images", "")) == []


def test_data_of_other_features_are_refused(run) -> None:
    values = walks(8)
    for message, options in (
        (r"features heading, x, y', expected x, y, heading \(period 360\)", {"features": ("heading", "x", "y")}),
        (r"features x, y, heading', expected x, y, heading \(period 360\)", {"features": NAMES}),
    ):
        with pytest.raises(UserError, match=f"^data: found '{message}, which the model was trained on"):
            run.evaluate(stf.data.vectors(values, **options))
    with pytest.raises(UserError, match=r"^data: found 'vectors of shape \(2,\)', expected \(3,\)"):
        run.evaluate(stf.data.vectors(values[..., :2]))


def test_a_feature_in_another_unit_changes_its_error_alone(tmp_path) -> None:
    values = walks(24, missing=0.1)
    found = []
    for name, factor in (("metres", 1.0), ("about millimetres", 1024.0)):  # a power of two: rounding stays the same
        scaled = given(values * [factor, 1, 1])
        found.append(stf.fit(scaled, "supervised", steps=6, out=tmp_path / name, **GIVEN).evaluate(sequences=8))
    one, other = (each.pop("features") for each in found)
    assert {key: 1024 * value for key, value in one["x"].items()} == other["x"]
    assert (one["y"], one["heading"]) == (other["y"], other["heading"])
    for each in found:
        del each["run"]
    assert found[0] == found[1]


def test_coordinates_far_from_zero_are_as_precise_as_others(tmp_path) -> None:
    values = np.round(walks(24) * 2**20) / 2**20
    values[..., 0] = 0.1 * (values[..., 0] - 1000)
    far = np.where([True, False, False], np.round(values * 2**20) / 2**20 + 4.6e6, values)
    found = []
    for name, each in (("near", np.where([True, False, False], far - 4.6e6, values)), ("far", far)):
        run = stf.fit(given(each), "supervised", steps=6, out=tmp_path / name, **GIVEN)
        found.append(run.evaluate(sequences=8)["features"]["x"])
    near, far = found
    assert far == pytest.approx(near, rel=1e-4) and 0 < near["reconstruction"] < 5


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path) -> None:
    data, options = given(walks(24, missing=0.2)), GIVEN | {"steps": 10, "checkpoint_every": 3, "log_every": 2}

    def stop(step: int, entry: dict) -> None:
        if step >= 6:
            raise ZeroDivisionError

    reference = stf.fit(data, "supervised", out=tmp_path / "whole", **options)
    with pytest.raises(UserError, match="^callback stop: found ZeroDivisionError"):
        stf.fit(data, "supervised", out=tmp_path / "run", callbacks=[stop], **options)
    for values, changed, message in (
        (walks(24, missing=0.2) * [2, 1, 1], {}, "features with other means or scales"),
        (walks(24, missing=0.2), {"features": ("y", "x", "heading")}, "features: y, x, heading"),
        (walks(24, missing=0.2), {"periodic": {}}, "features: x, y, heading, expected x, y, heading .period 360"),
        (
            walks(24, missing=0.2)[..., :2],
            {"features": NAMES[:2], "periodic": {}},
            r"frames of \(2,\), expected \(3,\)",
        ),
    ):
        with pytest.raises(UserError, match=f"found {message}"):
            stf.fit(given(values, **changed), "supervised", out=tmp_path / "run", resume=True, **options)
    stf.fit(data, "supervised", out=tmp_path / "run", resume=True, **options)
    assert_same_run(reference.path, tmp_path / "run")


class Encoder(nn.Sequential):
    """Two products, from what is seen of three features, one an angle, some of whose values are missing."""

    def __init__(self, inputs: int = 7) -> None:
        super().__init__(nn.Linear(inputs, 16), nn.SiLU(), nn.Linear(16, 2 * 5))


class Decoder(nn.Sequential):
    """Two products, to x, y, and cosine and sine of the angle."""

    def __init__(self, outputs: int = 4) -> None:
        super().__init__(nn.Linear(5, 16), nn.SiLU(), nn.Linear(16, outputs))


def test_own_encoder_and_decoder(tmp_path) -> None:
    data = given(walks(24, missing=0.2))
    options = {"steps": 4, "batch_size": 8, "quiet": True, "device": "cpu"}
    made = stf.fit(data, "supervised", out=tmp_path / "own", encoder=Encoder(), decoder=Decoder(), **options)
    assert made.model.latent_dim == 5 and set(made.evaluate(sequences=4)["features"]) == set(NAMES)
    again = stf.load(tmp_path / "own", encoder=Encoder(), decoder=Decoder())
    assert torch.equal(again.encode(some(data)), made.model.encode(some(data)))
    for modules in ({"encoder": Encoder(3)}, {"decoder": Decoder(3)}):
        with pytest.raises(UserError, match=f"^{next(iter(modules))}: "):
            stf.fit(data, "supervised", out=tmp_path / "other", **modules, **options)
    assert not (tmp_path / "other").exists()


def test_exported_programs_take_vectors_in_their_own_units(run, data, tmp_path) -> None:
    paths = run.export(tmp_path / "made")
    encoder, _, decoder = (torch.export.load(path).module() for path in paths)
    x = some(data)[:, 0].clone()
    x[0, 1] = math.nan
    with torch.no_grad():
        mean, _ = encoder(x)
        assert torch.allclose(mean, run.model.encode(x), atol=1e-5)
        assert torch.allclose(decoder(mean), run.model.decode(mean), rtol=1e-5)


def test_arrays_of_vectors_are_not_taken_for_pictures() -> None:
    with pytest.raises(UserError, match=r"found shape \(6, 5, 3\), which may be vectors: stf.data.vectors, expected"):
        stf.fit(walks(6), out="never")


def test_defaults_follow_the_features() -> None:
    config = stf.api.configure("unsupervised", {}, None, _spec(3))
    assert config.objective.likelihood == "gaussian" and config.model.latent_dim == 8
    assert stf.api.configure("unsupervised", {}, None, _spec(500)).model.latent_dim == 48


def _spec(count: int):
    from ffrl.data.spec import DataSpec

    values = np.random.default_rng(0).normal(size=(4, 5, count))
    return DataSpec.of(stf.data.vectors(values))


@pytest.mark.parametrize("count", [1, 500])
def test_one_feature_and_many(count: int, tmp_path) -> None:
    values = np.random.default_rng(0).normal(size=(24, 5, count)).cumsum(1)
    acting = np.ones((24, 4, 1))
    run = stf.fit(
        stf.data.vectors(values, acting), "supervised", steps=2, out=tmp_path / "run", batch_size=8, quiet=True
    )
    found = run.evaluate(sequences=4)
    assert len(found["features"]) == count and all(math.isfinite(one["flow"]) for one in found["features"].values())
