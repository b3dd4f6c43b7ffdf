"""A type of fields that a package adds: chosen by its name, trained, measured and drawn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import stf
from ffrl.config import ModelConfig
from ffrl.config.field_types import GROUP
from ffrl.core.errors import UserError
from ffrl.fields.autograd import AutogradFields

CODE = """
import torch
from torch import nn


class Sliding(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.fields, self.dim = size.num_fields, size.latent_dim
        self.net = nn.Sequential(nn.Linear(self.dim, 8), nn.Tanh(), nn.Linear(8, self.fields * self.dim))

    def forward(self, z):
        return self.net(z).unflatten(-1, (self.fields, self.dim))


def short(size):
    return nn.Linear(size.latent_dim, size.latent_dim)
"""
NO_SEARCH = {"discovery": {"fraction": 0.0}, "refine": {"fraction": 0.0}}
FLOW = {"latent_dim": 6, "width": 16, "depth": 1}


@pytest.fixture
def sliding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An installed package of one file whose entry points add two types of fields."""
    from ffrl.config.field_types import FIELDS
    from stf.fields.config import FIELDS as SPARSE

    info = tmp_path / "sliding-1.0.dist-info"
    info.mkdir()
    (tmp_path / "sliding_fields.py").write_text(CODE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sliding\nVersion: 1.0\n")
    points = f"[{GROUP}]\nsliding = sliding_fields:Sliding\nshort = sliding_fields:short\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))

    def forget() -> None:
        for registry in (FIELDS, SPARSE):
            registry.__dict__.pop("_added", None)
            for name in ("sliding", "short"):
                registry._loaded.pop(name, None)

    forget()
    yield
    forget()
    sys.modules.pop("sliding_fields", None)


def sequences(known: bool):
    """Bars that go right or down."""
    frames, activity = np.zeros((16, 5, 12, 20), np.uint8), np.zeros((16, 4, 2), np.float32)
    for number in range(16):
        activity[number, :, number % 2] = 1
        for t in range(5):
            x, y = (2 + number // 2 + t, 3) if number % 2 == 0 else (6, 1 + number // 4 + t)
            frames[number, t, y : y + 3, x : x + 4] = 220
    return stf.data.arrays(frames, activity=activity if known else None)


def fit(tmp_path: Path, mode: str, fields: str = "sliding", **settings) -> stf.Run:
    data = sequences(mode == "supervised")
    model = FLOW | {"fields": fields} | ({} if mode == "supervised" else {"num_fields": 2})
    return stf.fit(data, mode, steps=4, out=tmp_path / "run", device="cpu", quiet=True, model=model, **settings)


@pytest.mark.parametrize("mode", ["supervised", "unsupervised"])
def test_it_is_trained_measured_and_drawn(sliding: None, tmp_path: Path, mode: str) -> None:
    run = fit(tmp_path, mode, **(NO_SEARCH if mode == "unsupervised" else {}))
    assert isinstance(run.model.field_model, AutogradFields)
    again = stf.Run.open(tmp_path / "run", data=run.given)
    weights = run.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.model.state_dict().items())
    assert "prediction" in again.evaluate(sequences=2)
    with torch.no_grad():  # so that something can be seen
        again.model.field_model.function.net[-1].weight.mul_(30)
    *written, report = again.report(tmp_path / "figures", motion="none")
    drawn = {path.stem for path in written}
    assert {"overview", "traversals", "field-planes", "composition", "differential"} <= drawn
    assert not {"landscape", "helmholtz"} & drawn
    if mode == "supervised":
        assert "These fields may expand and turn as they like" in report.read_text()
        assert "slope of its potential" not in report.read_text()


def test_it_is_searched_for_only_if_its_fields_can_be_taken_one_by_one(sliding: None, tmp_path: Path) -> None:
    with pytest.raises(UserError) as found:
        fit(tmp_path, "unsupervised")
    assert str(found.value) == (
        "discovery.fraction: found 0.11, expected 0 as 'sliding' fields cannot be searched for: they are no RowFields"
    )
    with pytest.raises(UserError, match="^refine.fraction: found 0.06, expected 0 as 'sliding' fields cannot be"):
        fit(tmp_path, "unsupervised", discovery={"fraction": 0.0})


def test_equations_of_potentials_are_refused_where_there_are_none(sliding: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="objective.hj-weight: found 0.1, expected 0 as sliding fields have no potent"):
        fit(tmp_path, "supervised", objective={"hj_weight": 0.1})


def test_names_and_values_that_do_not_fit_are_one_line(sliding: None) -> None:
    with pytest.raises(
        UserError, match=r"model.fields: found 'slidding', expected one of .*\(did you mean sliding\?\)"
    ):
        ModelConfig(fields="slidding")
    from ffrl.fields.build import build_fields

    with pytest.raises(UserError) as found:
        build_fields(ModelConfig(fields="short", num_fields=2, latent_dim=6))
    assert str(found.value) == "model.fields 'short': found values of shape (6,) for a latent (6,), expected (2, 6)"
    with pytest.raises(UserError, match="fields: found int, expected a module or a function"):
        AutogradFields(3, 1, 2)

    class Failing(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            raise RuntimeError("no")

    with pytest.raises(UserError, match=r"fields: found that it fails for a latent \(2,\), expected \(1, 2\)"):
        AutogradFields(Failing(), 1, 2)
