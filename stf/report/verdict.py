"""What a run found, how sure that is, and what to do next: sentences made from its numbers alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ffrl.data.catalogue import IN_MEMORY
from ffrl.evaluation.measures.calibration import ECE
from stf.discovery.moves_text import quantity
from stf.plot.compute.numbers import percent
from stf.plot.compute.search_log import Search
from stf.report.reading import Errors, Reading, blind, read_errors, read_fields
from stf.report.words import of_vectors

RECORDINGS = "sequences"
"""Name of data that are a user's own recordings."""
MOVES = (
    "Let the model see what moves alone: --data.sequences.static median takes a fixed camera's background away, "
    "--data.sequences.follow cuts a window around what moves, and a larger --data.sequences.stride (with "
    "--data.sequences.dense for more clips) or a lower --data.sequences.fps lets more change from frame to frame."
)
"""What helps where recordings stand still for a model."""
LIMITED = 0.75
"""Share of the error of prediction that encoder and decoder make by themselves, if they are what limits it."""
LOST = 2.0
"""Times the error of encoder and decoder, from which on prediction is taken to lose its way."""
COVERED = 0.1
"""How far the share of true speeds within one deviation may be from what it should be."""
CLEAR = 1.5
"""Times the largest cost that is accepted, from which on the refusal of a move is clear."""
FEW = 100
"""Sequences below which numbers are called rough."""
SPARE = 3
"""Fields that are suggested beyond those that did not suffice."""
LONGER = 2
"""How many times as many steps are suggested where training may have been too short."""


@dataclass(frozen=True)
class Circumstances:
    """What is known of a run besides what was measured.

    Args:
        path: run folder, as commands name it.
        step: of the measured checkpoint.
        steps: of the whole run.
        seed: of the training.
        usual: steps that the mode has by default for such data.
        has_fields: whether its activity drives vector fields.
        searched: whether its fields are found, so that there may be more or fewer of them than transformations.
        search: the log of that, where there is one.
        accept: costs up to which its moves are accepted, at once and after longer trials, as shares of what the lack of
            the field costs.
        unit_steps: what one unit step of a transformation means, in words.
    """

    path: str
    step: int
    steps: int
    seed: int
    usual: int = 0
    has_fields: bool = True
    searched: bool = False
    search: Search | None = None
    accept: tuple[float, float] | None = None
    unit_steps: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What is said of a run before everything else.

    Args:
        found: what was found, the most important first.
        sure: how sure that is.
        next: what to do next.
    """

    found: tuple[str, ...]
    sure: tuple[str, ...]
    next: tuple[str, ...]

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """The sentences by their titles."""
        return {"What was found": self.found, "How sure that is": self.sure, "What to do next": self.next}


def verdict(evaluation: Mapping[str, Any], run: Circumstances) -> Verdict:
    """Say what a run found, how sure that is, and what to do next.

    Args:
        evaluation: from :func:`ffrl.evaluation.evaluate.evaluate`, or what ``stf evaluate --json`` wrote.
        run: the rest.

    Example:
        >>> errors = {kind: {"mean_per_frame": {"mean": mean, "standard_error": 1.0}} for kind, mean in
        ...           (("flow", 40.0), ("reconstruction", 35.0), ("copy", 90.0), ("raw_copy", 80.0))}
        >>> field = {"field": 0, "on": 0.4, "silent": False, "growth": {"mean": 20.0, "standard_error": 1.0}}
        >>> measured = {"model": {"mode": "unsupervised", "num_fields": 6, "trained_on": "mixed"}, "sequences": 500,
        ...             "data": {"name": "sequences", "transformations": []}, "fields": [field],
        ...             "prediction": {"activity": "inferred", **errors}}
        >>> said = verdict(measured, Circumstances("runs/walks", 6500, 6500, seed=0, searched=True))
        >>> said.found[1]
        'Field 0 acts at 40 % of the steps; without it the prediction gets 50 % worse.'
        >>> said.next[0]
        'Train longer (--steps 13000): most of the error that is left, 35 of 40, is that of encoder and decoder alone.'
    """
    reading, errors = read_fields(evaluation, run.has_fields, run.unit_steps), read_errors(evaluation)
    said = Verdict(
        found=(reading.headline, *reading.fields, _prediction(evaluation, errors, run.has_fields)),
        sure=tuple(_sure(evaluation, run)),
        next=tuple(_next(evaluation, reading, errors, run)) or (_use(evaluation, run),),
    )
    if "features" not in evaluation["data"]:
        return said
    names = (*evaluation["data"]["transformations"], run.path)
    return Verdict(*(tuple(of_vectors(sentence, names) for sentence in part) for part in said.parts.values()))


def _prediction(evaluation: Mapping[str, Any], errors: Errors, has_fields: bool) -> str:
    """Whether predicting beats standing still."""
    flow, still = errors.flow, errors.still
    if still.exceeds(flow):
        judged = "Predicting beats standing still"
    elif flow.exceeds(still):
        judged = "Predicting is worse than standing still"
    else:
        judged = "Predicting is no better than standing still, as far as these sequences tell"
    source = {"given": "the given activity", "inferred": "the activity inferred from the whole sequence"}
    if has_fields:
        how = f"the first frame, moved by {source[evaluation['prediction']['activity']]}"
    else:
        how = f"what it predicts ({evaluation['model']['prediction']})"
    off, unmoved, left = (quantity(one.mean) for one in (flow, still, errors.reconstruction))
    return (
        f"{judged}: {how}, is off by an L1 error of {off} per frame, standing still by {unmoved}, and the true frames "
        f"encoded and decoded by {left}."
    ) + _beside_nothing(errors)


def _beside_nothing(errors: Errors) -> str:
    """Whether predicting beats the static background, of models that know it."""
    if errors.empty is None:
        return ""
    off = quantity(errors.empty.mean)
    if errors.empty.exceeds(errors.flow):
        return f" The background alone, without anything that moves, is off by {off}."
    return f" The background alone is off by no more than {off}: what moves is not predicted."


def _sure(evaluation: Mapping[str, Any], run: Circumstances) -> Iterator[str]:
    """Calibration, missed targets, close decisions of the search, and how much was measured."""
    if "calibration" in evaluation:
        yield _calibration(evaluation["calibration"])
    missed = [_criterion(line) for line in evaluation.get("criteria", ()) if not line["reached"]]
    if missed:
        yield f"Of {len(evaluation['criteria'])} targets {len(missed)} {_is(missed)} missed: {'; '.join(missed)}."
    if run.search is not None:
        yield from _decisions(run.search, run.accept)
    rough = ", too few for more than rough numbers" if evaluation["sequences"] < FEW else ""
    yield (
        f"This is one training (seed {run.seed}), measured on {evaluation['sequences']:,} held-out sequences{rough}; "
        "what another seed finds is not known."
    )


def _is(several: list[str]) -> str:
    return "is" if len(several) == 1 else "are"


def _criterion(line: Mapping[str, Any]) -> str:
    kind = next(kind for kind in ("at_least", "at_most", "exactly") if kind in line)
    found = "undefined" if line["worst"] is None else f"{line['worst']:.3g}"
    return f"{line['name']} {found} ({kind.replace('_', ' ')} {line[kind]:g})"


def _calibration(found: Mapping[str, Any]) -> str:
    pooled = found["pooled"]
    if pooled["ece"] is None:
        return "No field matches a transformation, so that there is no probability to be judged."
    judged = "As sure as it should be" if pooled["ece"] <= ECE else "Not as sure as it should be"
    text = f"{judged} of which fields act: their probabilities are off by {pooled['ece']:.3f} on average"
    within = (pooled["coverage"] or {}).get("one_deviation")
    if within is None:
        return f"{text}."
    expected = found["expected_coverage"]["one_deviation"]
    shares = f"{percent(within)} of the true ones lie within one deviation, where {percent(expected)} should"
    if abs(within - expected) <= COVERED:
        return f"{text}; as sure as it should be of speeds: {shares}."
    return f"{text}; too {'sure' if within < expected else 'unsure'} of speeds: {shares}."


def _decisions(search: Search, accept: tuple[float, float] | None) -> Iterator[str]:
    """How close the decisions of the search that counts were, and whether the one before it ended alike."""
    if not search.ended:
        yield "The search for the fields has not come to its end."
    if accept is None:
        return
    *before, last = search.searches
    if before and search.ended and len(before[-1][-1].alive) != len(search.alive):
        found = len(before[-1][-1].alive)
        yield (
            f"The first search, on codes of single frames, had ended with {found} field{'' if found == 1 else 's'}; "
            f"the second one, on those of joint training, with {len(search.alive)}."
        )
    made = [move.ratio for move in last if move.changes and move.ratio is not None]
    refused = [move.ratio for move in last if not move.accepted and move.ratio is not None]
    parts = []
    if made:
        parts.append(f"the costliest move that was made has the ratio {quantity(max(made))}")
    if refused:
        parts.append(f"the cheapest move that was refused has the ratio {quantity(min(refused))}")
    if not parts:
        return
    close = max(made, default=0.0) > accept[0] or min(refused, default=float("inf")) < CLEAR * accept[1]
    judged = "were close, so that another seed may decide otherwise" if close else "were clear"
    limits = f"accepted is less than {accept[0]:g}, and less than {accept[1]:g} after a longer trial"
    yield f"The decisions on which fields there are {judged}: {' and '.join(parts)} ({limits})."


def _next(evaluation: Mapping[str, Any], reading: Reading, errors: Errors, run: Circumstances) -> Iterator[str]:
    """What to do, the most urgent first; where something comes before everything else, that alone."""
    count, kinds = evaluation["model"]["num_fields"], len(evaluation["data"]["transformations"])
    memory = evaluation["data"]["name"] == IN_MEMORY
    longer = _setting(memory, "steps", max(LONGER * run.steps, run.usual))
    if run.step < run.steps:
        stopped = f"step {run.step:,} of {run.steps:,}"
        yield f"Go on with the training, which stopped at {stopped}: {_resume(memory, run)}."
        return
    unseen = blind(evaluation)
    if unseen is not None:
        made, repeated = map(quantity, unseen)
        yield (
            f"Train encoder and decoder longer ({longer}) or let what moves be larger in the picture, before anything "
            f"else: even encoded and decoded by themselves frames are off by {made}, no less than the first frame "
            f"repeated ({repeated}), so that what moves is hardly in them."
        )
        if evaluation["data"]["name"] == RECORDINGS:
            yield MOVES
        return
    if reading.alive == 0:
        yield f"Look whether anything moves in the sequences, and train longer ({longer})."
        return
    if run.searched:
        yield from _fields(reading, (count, kinds), run.seed, memory, longer)
    if reading.always:
        yield (
            "Give it sequences in which things start and stop: here all that acts does so nearly always, so that on "
            "and off cannot tell fields apart."
        )
    if evaluation["data"]["name"] == RECORDINGS and not errors.still.exceeds(errors.flow):
        yield MOVES
    yield from _better(errors, longer)
    if run.searched and reading.separated is not False:
        other = _setting(memory, "seed", run.seed + 1)
        yield f"Train with another seed ({other}): what two seeds agree on is more than one run's word."


def _use(evaluation: Mapping[str, Any], run: Circumstances) -> str:
    if not run.has_fields:
        return "Compare it with a model that has fields: stf benchmark trains and measures several alike."
    if evaluation["data"]["name"] == IN_MEMORY:
        return "Use it: encode, flow and decode of run.model move other images."
    return f"Use it: stf transfer {shlex.quote(run.path)} does to other images what happens in one sequence."


def _setting(memory: bool, key: str, value: int) -> str:
    """A flag of ``stf train``, or for sequences in memory an argument of ``stf.fit``."""
    if not memory:
        return f"--{key} {value}"
    section, _, name = key.replace("-", "_").rpartition(".")
    return f'{section}={{"{name}": {value}}}' if section else f"{name}={value}"


def _resume(memory: bool, run: Circumstances) -> str:
    if memory:
        return "stf.fit(..., resume=True) with the same arguments"
    return f"stf train --resume {shlex.quote(run.path)}"


def _fields(reading: Reading, counts: tuple[int, int], seed: int, memory: bool, longer: str) -> Iterator[str]:
    """More fields than the K of ``counts``, its other being the number of transformations; or another attempt."""
    count, kinds = counts
    more = _setting(memory, "model.num-fields", max(counts) + SPARE)
    if count < kinds:
        yield f"Allow more fields ({more}): {count} cannot have one for each of the {kinds} transformations."
    elif reading.alive == count and (reading.separated is None or (not reading.separated and count == kinds)):
        yield f"Allow more fields ({more}): all {count} are alive, so that there may be more to find than they hold."
    if reading.separated is False:
        seeds = f"{_setting(memory, 'seed', seed + 1)}, {_setting(memory, 'seed', seed + 2)}"
        yield (
            f"Make another attempt, with other seeds ({seeds}) and with more steps ({longer}): fields and "
            "transformations do not yet match one to one."
        )


def _better(errors: Errors, longer: str) -> Iterator[str]:
    """What would make the prediction better."""
    flow, left = errors.flow.mean, errors.reconstruction.mean
    off, alone = quantity(flow), quantity(left)
    if left >= LIMITED * flow:
        yield (
            f"Train longer ({longer}): most of the error that is left, {alone} of {off}, is that of encoder and "
            "decoder alone."
        )
    elif flow > LOST * left or not errors.still.exceeds(errors.flow):
        yield (
            f"Train longer ({longer}) for better predictions: they are off by {off}, of which encoder and decoder "
            f"alone make {alone}."
        )
