"""Bounds on the likelihood of held-out sequences, in nats per frame."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from ffrl.core.seed import generator
from ffrl.evaluation.likelihood.estimate import bounds, draw, legacy_score, log_weights
from ffrl.evaluation.likelihood.pixels import Score, scores, trained_score
from ffrl.evaluation.protocol.measure import ERRORS, Measure, Metric, Pass, Results, Seen, Task
from ffrl.evaluation.protocol.needs import Need
from ffrl.evaluation.protocol.statistics import estimate, leaves
from ffrl.models.interface import Probabilistic
from ffrl.objective.paper_bound import NOTES as PAPER_NOTES
from ffrl.tables.table import Column, Row, Table, estimated

GAUSSIAN = "gaussian-1"
"""The likelihood that every model is scored under: a Gaussian of unit variance."""
LEGACY = {
    "formula": "log p(x_0|z_0) + log q(z_0|x_0) - log p(z_0), one sample, unit-variance Gaussian",
    "note": "not a likelihood: the KL has the wrong sign, so that it can exceed what any model can reach",
}


class Likelihood(Measure):
    """Lower bounds under several pixel likelihoods, on the kind of sequences that the model is trained on."""

    keys, needs, place = ("likelihood",), frozenset({Need.LIKELIHOOD}), 60
    units = {"likelihood": "nats per frame: the value of a sequence / (T + 1)"}

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        model = task.model
        mixed = model.trained.sequences == "mixed"
        self.sees = Pass.MIXED if mixed or not task.data.prescribed else Pass.IN_TURN
        self.sequences = ("mixed" if mixed else "single") if task.data.prescribed else "real"
        self.objective, self.paper = model.trained.objective, model.density is not None
        self.scores = scores(model)
        self.pixels = any(score.name == GAUSSIAN for score in self.scores)

    def see(self, seen: Seen) -> None:
        model, frames = seen.model, seen.frames
        source = generator(frames.device, self.task.seed, "evaluation-draws", seen.number)
        draws = draw(model, frames, self.task.samples, source, seen.truth if model.activity_kind.given else None)
        weights = log_weights(model, frames, draws, {score.name: score for score in self.scores}, self.paper)
        for name, found in bounds(weights, frames.shape[1]).items():
            self.keep({(name, bound): value for bound, value in found.items()})
        if self.pixels:
            self.keep({"legacy": legacy_score(model, frames, draws)})

    def result(self, found: Results) -> dict[str, Any]:
        told = "activity" if self.sequences == "mixed" else "transformation"
        conditional = cast(Probabilistic, self.task.model).conditional()
        likelihood = {
            "quantity": f"log p(frames | {told})" if conditional else "log p(frames)",
            "sequences": self.sequences,
            "trained_with": trained_score(self.task.model).name,
            "likelihoods": {score.name: self._entry(score) for score in self.scores},
        }
        if self.pixels:
            likelihood["legacy_score"] = {**estimate(self.kept("legacy")), **LEGACY}
        if self.paper:
            density = self.objective.density
            likelihood["paper"] = {"density": density, "is_bound": density == "exact", "note": PAPER_NOTES[density]}
        return {"likelihood": likelihood}

    def _entry(self, score: Score) -> dict[str, Any]:
        names = ("elbo", "iwae", "paper") if self.paper else ("elbo", "iwae")
        estimates = {bound: estimate(self.kept((score.name, bound))) for bound in names}
        most = score.upper_bound(math.prod(self.task.data.image_shape))
        return estimates | {"upper_bound": most, "note": score.note}

    @classmethod
    def tables(cls, results: Results) -> list[Table]:
        found = results["likelihood"]
        paper, legacy = found.get("paper"), found.get("legacy_score")
        columns = {"elbo": Column("ELBO", "high"), "iwae": Column(f"IWAE, S = {results['samples']}", "high")}
        if paper:
            columns["paper"] = Column("paper bound" if paper["is_bound"] else "paper objective (no bound)")
        rows = [
            Row(
                name + (" †" if name == found["trained_with"] else ""),
                [*(estimated(entry[bound]) for bound in columns), entry["upper_bound"]],
            )
            for name, entry in found["likelihoods"].items()
        ]
        notes = [
            f"{found['quantity']} from below, on {found['sequences']} sequences: ELBO ≤ IWAE ≤ log p in expectation. "
            "†: the likelihood of training.",
            *(f"{name}: {entry['note']}." for name, entry in found["likelihoods"].items()),
            *([f"Paper objective: {paper['note']}."] if paper else []),
        ]
        if legacy:
            notes.append(f"legacy_score {Column('').text(estimated(legacy))}: {legacy['formula']}; {legacy['note']}.")
        title = f"{found['quantity']} in nats per frame, {found['sequences']} sequences"
        return [Table("likelihood", title, "p(x | z)", [*columns.values(), Column("any model at most")], rows, notes)]

    @classmethod
    def summary(cls, results: Results) -> str:
        name = results["likelihood"]["trained_with"]
        entry = results["likelihood"]["likelihoods"][name]
        iwae, most = (Column("").text(cell) for cell in (estimated(entry["iwae"]), entry["upper_bound"]))
        return f"IWAE {iwae} nats per frame under {name}; no model can exceed {most}"

    @classmethod
    def numbers(cls, results: Results) -> dict[str, Any]:
        likelihood = results["likelihood"]
        found: dict[str, Any] = {}
        for name, entry in likelihood.get("likelihoods", {}).items():
            found |= {f"{bound}/{name}": entry[bound] for bound in ("elbo", "iwae", "paper") if bound in entry}
            found[f"upper_bound/{name}"] = entry.get("upper_bound")
        found["likelihood_of"] = f"{likelihood['quantity']}, {likelihood['sequences']} sequences"
        return found | leaves(likelihood.get("legacy_score"), "legacy_score")

    @classmethod
    def metrics(cls, numbers: Mapping[str, Any]) -> list[Metric]:
        bound = numbers.get(f"upper_bound/{GAUSSIAN}")
        most = "" if bound is None else f"; no model can exceed {bound:,.2f}"
        about = (
            f"IWAE: a lower bound on the log-likelihood, nats per frame, unit-variance Gaussian{most}. The legacy "
            "score is the formula of the published figures, whose KL has the wrong sign: no likelihood, not compared."
        )
        return [
            Metric(ERRORS, f"iwae/{GAUSSIAN}", Column("IWAE", "high"), about, alike="likelihood_of"),
            Metric(ERRORS, "legacy_score", Column("legacy score"), about),
        ]


MEASURE = Likelihood
