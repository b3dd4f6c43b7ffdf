"""The search for the fields: expectation-maximisation in rounds of merging, deleting and refilling.

Some hundred EM steps from random fields make every field serve one transformation only; what remains are duplicates,
two or three fields to one transformation, divided by region or sharing a step, and fields that serve several in
patches. So the search goes on in rounds of trials: models with one field less (two fitted by one, or one left out)
learn beside the unchanged model, on the same sequences, and the best of them takes its place if it recovers most of
what the lack of its field costs at first:

    ratio = (log evidence of the unchanged model - log evidence of the trial) / gone,

where gone is the held-out log evidence that is lost when the field is simply left out, or one that has changed its job
to do that field's. The ratio has no scale, so that it is as fair to faint transformations as to strong ones: duplicates
give most of it back, fields of their own do not.

Fields form, are tried and are judged at one noise, at which a transition that is wholly explained is worth some 80
nats: 5 % of its energy pays for a spike, what fields fail to explain of one another's steps does not. At the noise that
a good model leaves, fields that are spare take up corrections of the others, and a field that is right on half of an
orbit cannot grow into the other half, where its steps are given to nothing. Trials are tempered for the same reason.

Where many fields act at a time, one in the place of two loses little even if they have nothing in common, and gone is
reduced to what it has to lose then; two fields that are on in nearly the same steps are left out together
(:mod:`stf.discovery.companions`).

Where one field acts throughout a sequence, the place that a code has come to tells which one it is, so that a single
field can serve two transformations, each where its own sequences lead: on planted fields such a merge loses 0.26 to
0.35. Where sequences begin, nothing tells; moves are judged by first transitions alone, at which it loses 0.49 and
more. And the evidence of such a sequence is that of T transitions at once, so that tempering begins T times lower.

When no trial is accepted, empty places are refilled with perturbed copies of the fields that explain their steps worst,
which is how two faint transformations that share a field come apart. More often the copies learn to correct other
fields, beside which they act. So a refill is taken back where in the end it gains less than the share that is asked of
longer trials of what the lack of its least field costs.

The search is a machine of stages: :meth:`Search.step` takes one optimisation step, whichever stage it is in, and its
whole state is tensors and plain numbers, so that it can be saved after any step and goes on bit for bit.

Sources: Ueda, Nakano, Ghahramani and Hinton 2000, SMEM algorithm for mixture models (split and merge moves); the
acceptance is this project's own.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ffrl.core.errors import UserError
from ffrl.core.seed import generator
from ffrl.fields.protocol import RowFields
from ffrl.storage.tensors import require_alike
from ffrl.training.checkpoint import STATE, STATE_TENSORS
from stf.config import DiscoveryConfig
from stf.discovery.measures import lacks, on_rates, relative_residuals
from stf.discovery.pairs import PairFit, all_pairs, promising
from stf.discovery.population import Population, Setting, annealed, gather, rows_of, tempering
from stf.discovery.progress import FORM, LONGER, PAIRS, POLISH, SETTLE, TRIAL, Progress, progress_from
from stf.discovery.saving import learner_tensors, restore_optimizer, restored, saved_rows
from stf.discovery.trials import judge, propose, together
from stf.inference.encoded import Encoded
from stf.inference.evidence import LEAST_MISFIT

POOR = 0.25
"""With a larger relative misfit a model leaves much unexplained, and what a refill brings it is not taken back."""


class Search:
    """The search for the fields of a model.

    Args:
        config: of the phase.
        fields: a module with K freshly initialised fields; it is not changed.
        setting: prior, rates and T.
        sequences: encoded training sequences.
        held_out: encoded sequences that are kept for the log evidence.
        steps: how many steps there are.
        seed: of everything random.
    """

    def __init__(
        self,
        config: DiscoveryConfig,
        fields: RowFields,
        setting: Setting,
        sequences: Encoded,
        held_out: Encoded,
        steps: int,
        seed: int,
    ) -> None:
        self.config, self.template, self.setting = config, fields, setting
        constant = setting.prior.constant
        self.sequences, self.held = sequences, held_out.beginnings if constant else held_out
        self.at_once = setting.num_steps if constant else 1
        self.steps, self.seed = steps, seed
        self.taken = 0
        self.places_total = len(next(iter(rows_of(fields).values())))
        self.device = sequences.means.device
        misfit = sequences.means.shape[-1] / (2 * config.worth) if config.worth else LEAST_MISFIT
        self.misfit = torch.tensor(misfit, device=self.device)
        whole = (
            config.form + config.settle + config.rounds * (config.pairs + config.trial + config.longer) + config.polish
        )
        whole -= 0 if config.rounds else config.settle
        self.scale = min(1.0, steps / whole)
        self.events: list[dict[str, Any]] = []
        self.progress = Progress(places=list(range(self.places_total)), length=self._length(config.form))
        self.pair_fit: PairFit | None = None
        self.before: dict[str, Tensor] = {}
        self.misfit_before = torch.ones((), device=self.device)
        self.population = self._starts()
        self._tell("start", [])

    # -- one step ----------------------------------------------------------------------------------------------------

    def step(self) -> dict[str, Tensor]:
        """Take one optimisation step and, at the end of a stage, decide what comes next.

        Returns:
            0-dim tensors: ``log_evidence``, ``residual`` and ``misfit`` of the model as it stands (the unchanged one
            while there are trials), and ``fields_alive``.
        """
        progress, config = self.progress, self.config
        batch = self._batch()
        share = progress.done, max(progress.length, 1)
        if progress.stage == PAIRS:
            cast(PairFit, self.pair_fit).step(batch, annealed(*share, config.pair_learning_rate))
            terms = {}
        else:
            start = config.temper if progress.stage == FORM else config.trial_temper
            temper = 1.0 if progress.stage == POLISH else tempering(*share, start / self.at_once)
            rollout = config.rollout if progress.stage == POLISH else 0.0
            misfit = self.misfit if config.worth and progress.stage in (FORM, TRIAL, LONGER) else None
            found = self.population.step(batch, annealed(*share, config.learning_rate), temper, rollout, misfit)
            terms = {name: value[0] for name, value in found.items()}
        progress.done += 1
        self.taken += 1
        terms["fields_alive"] = torch.full((), float(len(progress.places)), device=self.device)
        if self.taken == self.steps:
            self._finish()
        elif progress.done >= progress.length:
            self._next()
        return terms

    def _batch(self) -> Encoded:
        forming = self.progress.stage in (FORM, SETTLE, POLISH)
        size = self.config.batch_size if forming else self.config.trial_batch_size
        return draw_encoded(self.sequences, size, self.seed, "discovery-batch", self.taken)

    def _length(self, steps: int) -> int:
        return max(1, round(steps * self.scale))

    # -- stages ------------------------------------------------------------------------------------------------------

    def _enter(self, stage: str, steps: int) -> None:
        """Begin a stage, or the last one if this one would leave too little time for it.

        A longer trial may take half its time.
        """
        length, remaining = self._length(steps), self.steps - self.taken
        room = remaining - self._length(self.config.polish)
        if stage == LONGER:
            length = max(min(length, room), length // 2)
        if stage != POLISH and length > room:
            self._tell("keep", [])
            stage = POLISH
        if stage == POLISH:
            self._only(0)
            self._weigh_refill()
            length = remaining
        self.progress.stage, self.progress.done, self.progress.length = stage, 0, length

    def _next(self) -> None:
        stage = self.progress.stage
        if stage == FORM:
            self._choose_start()
            if not self.config.rounds:
                return self._enter(POLISH, self.config.polish)
            self._propose()
        elif stage == SETTLE:
            self._propose()
        elif stage == PAIRS:
            self._try()
        else:
            self._decide(stage)

    def _starts(self) -> Population:
        """As many random models as there are starts; the first one is the module that was given."""
        config = self.config
        rows = [rows_of(self.template)]
        for start in range(1, config.starts):
            source = generator("cpu", self.seed, "discovery-start", start)
            rows.append({name: _reshuffled(value, source) for name, value in rows[0].items()})
        alive = torch.ones(self.places_total, device=self.device)
        misfit = torch.ones((), device=self.device)
        return gather([(r, alive) for r in rows], self.template, misfit, self.setting)

    def _choose_start(self) -> None:
        if self.population.count == 1:
            return
        evidence = self.population.held_out(self.held)
        best = int(evidence.argmax())
        self._only(best)
        self._tell("choose", [], evidence=float(evidence[best]), start=best)

    def _only(self, index: int) -> None:
        """Go on with one candidate alone, without the fields it lacks."""
        population = self.population
        if population.count == 1 and population.complete:
            return
        alive = population.alive[index] > 0
        rows = {name: value[alive] for name, value in population.candidate(index).items()}
        kept = alive.tolist()
        self.progress.places = [place for place, lives in zip(self.progress.places, kept, strict=True) if lives]
        ones = torch.ones(len(self.progress.places), device=self.device)
        self.population = population.like([(rows, ones)], population.misfit[index])

    def _propose(self) -> None:
        """Drop fields that hardly ever act, then fit one field to every pair."""
        progress, config = self.progress, self.config
        share = self._drop_silent()
        if len(share) < 2:
            return self._round_ends()
        pairs = promising(self.population, all_pairs(share, self.setting.prior.slab == "signed"), self.held)
        self.pair_fit = PairFit(self.population, pairs)
        progress.pairs = pairs
        self._enter(PAIRS, config.pairs)
        if progress.stage == POLISH:
            self.pair_fit = None

    def _drop_silent(self) -> list[float]:
        """Drop fields that hardly ever act, unless none does; how often those that stay are on."""
        population, places, least = self.population, self.progress.places, self.config.silent
        share = on_rates(population, self.held).tolist()
        silent = [k for k, value in enumerate(share) if value < least]
        if silent and len(silent) < len(share):
            evidence = float(population.held_out(self.held))
            population.alive[0, silent] = 0
            population.complete = False
            self._only(0)
            self._tell("silent", [places[k] for k in silent], evidence=evidence)
            share = [value for value in share if value >= least]
        return share

    def _try(self) -> None:
        """Set up trials: the unchanged model, the best merges, and the deletions that cost least at first."""
        progress, base, fit = self.progress, self.population, cast(PairFit, self.pair_fit)
        candidates, progress.moves, progress.gone = propose(
            base, fit, progress.places, self.held, self.misfit, self.config
        )
        self.pair_fit, progress.pairs = None, []
        if not progress.moves:
            return self._round_ends()
        self.population = base.like(candidates, base.misfit[0])
        self._enter(TRIAL, self.config.trial)

    def _decide(self, stage: str) -> None:
        """Accept the best trials, try the best two for longer, or keep the model as it is."""
        progress, config, moves = self.progress, self.config, self.progress.moves
        costs, ratios = judge(self.population, moves, progress.gone, progress.places, self.held, self.misfit)
        order = sorted(range(len(ratios)), key=ratios.__getitem__)
        best = order[0]
        limit = config.accept if stage == TRIAL else config.accept_longer
        if ratios[best] < limit:
            return self._accept(ratios, costs)
        if stage == TRIAL and ratios[best] < config.hopeless:
            self._narrow(order[:2])
            return self._enter(LONGER, config.longer)
        move = moves[best]
        self._only(0)
        evidence = float(self.population.held_out(self.held))
        self._tell(move.kind, list(move.places), costs[best], ratios[best], evidence, accepted=False)
        self._round_ends()

    def _narrow(self, kept: list[int]) -> None:
        """Only the unchanged model and some of the trials go on."""
        progress, population = self.progress, self.population
        indices = [0, *(k + 1 for k in kept)]
        candidates = [(population.candidate(index), population.alive[index]) for index in indices]
        progress.moves = [progress.moves[k] for k in kept]
        self.population = population.like(candidates, population.misfit[indices])

    def _accept(self, ratios: list[float], costs: list[float]) -> None:
        """The best trial takes the place of the model, with others that are clear and still are beside it."""
        progress, population = self.progress, self.population
        own = population.held_out(self.held).tolist()
        taken, made = together(
            population, ratios, progress.moves, progress.places, self.held, self.misfit, self.config.accept
        )
        self.population = population.like([made], population.misfit[taken[0] + 1])
        self._only(0)
        moves = [progress.moves[index] for index in taken]
        gone = [move.places[-1] for move in moves]
        for number, (index, move) in enumerate(zip(taken, moves, strict=True)):
            evidence = own[index + 1] if len(taken) == 1 else None
            alive = sorted(progress.places + gone[number + 1 :])
            self._tell(move.kind, list(move.places), costs[index], ratios[index], evidence, alive=alive)
        self._propose()

    def _round_ends(self) -> None:
        """No trial was accepted: refill empty places, if there are any, and settle; or polish what there is.

        There is another round only where there is time to try what a refill brings: two trials and a longer one.
        """
        progress, config = self.progress, self.config
        self._weigh_refill()
        progress.round += 1
        free = [place for place in range(self.places_total) if place not in progress.places]
        whole = config.settle + 2 * (config.pairs + config.trial) + config.longer
        room = self.steps - self.taken - self._length(config.polish) > self._length(whole)
        if progress.round >= config.rounds or not room:
            return self._enter(POLISH, config.polish)
        if free[: config.extra]:
            self._refill(free[: config.extra])
        self._enter(SETTLE, config.settle)

    def _weigh_refill(self) -> None:
        """Take back the last refill of a model that explains most, if what it has left gains too little.

        What it brought has learnt for as long as a longer trial.
        """
        progress, population = self.progress, self.population
        if 0 < len(progress.before) < population.size and float(self.misfit_before) < POOR:
            alive = torch.ones(len(progress.before), device=self.device)
            before = gather([(self.before, alive)], self.template, self.misfit_before, self.setting)
            gained = population.held_out(self.held, self.misfit) - before.held_out(self.held, self.misfit)
            cost, gone = float(gained), min(lacks(population, self.held, self.misfit)[0])
            ratio = cost / max(gone, 1e-6)
            accepted = ratio < self.config.accept_longer
            if accepted:
                self.population, progress.places = before, progress.before
            evidence = float(self.population.held_out(self.held))
            self._tell("undo", [], cost, ratio, evidence, accepted)
        progress.before, self.before = [], {}

    def _refill(self, free: list[int]) -> None:
        """Put perturbed copies of the fields that explain their steps worst into empty places."""
        progress, population = self.progress, self.population
        worst = relative_residuals(population, self.held).argsort(descending=True).tolist()
        sources = [worst[index % len(worst)] for index in range(len(free))]
        noise = generator("cpu", self.seed, "discovery-refill", progress.round)
        progress.before = list(progress.places)
        self.before = {name: value.clone() for name, value in rows_of(population.fields).items()}
        self.misfit_before = population.misfit[0].clone()
        rows = {}
        for name, value in self.before.items():
            copies = value[sources]
            shake = torch.randn(copies.shape, generator=noise, dtype=copies.dtype).to(self.device)
            scale = copies.std() if copies.numel() > 1 else copies.new_zeros(())
            rows[name] = torch.cat([value, copies + self.config.perturbation * scale * shake])
        names = [progress.places[source] for source in sources]
        progress.places = [*progress.places, *free]
        alive = torch.ones(len(progress.places), device=self.device)
        self.population = population.like([(rows, alive)], population.misfit[0])
        self._tell("refill", free, sources=names)

    def _finish(self) -> None:
        """What is left when the steps are used up: the model as it stands, without fields that hardly ever act."""
        progress = self.progress
        self.pair_fit = None
        self._only(0)
        share = self._drop_silent()
        progress.finished = True
        on = [rate for _, rate in sorted(zip(progress.places, share, strict=True))]
        self._tell("end", [], evidence=float(self.population.held_out(self.held)), on=on)

    def _tell(
        self,
        move: str,
        fields: list[int],
        cost: float | None = None,
        ratio: float | None = None,
        evidence: float | None = None,
        accepted: bool = True,
        alive: list[int] | None = None,
        **more: Any,
    ) -> None:
        alive = sorted(self.progress.places) if alive is None else alive
        entry = {"move": move, "fields": fields, "alive": alive, "cost": cost, "ratio": ratio}
        self.events.append(entry | {"evidence": evidence, "accepted": accepted, "allocated": self.places_total} | more)

    # -- results and state -------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Everything that learns, by name."""
        found = {"alive": self.population.alive, "misfit": self.population.misfit, "before/misfit": self.misfit_before}
        found |= learner_tensors("population", self.population)
        found |= {f"before/rows/{name}": rows for name, rows in self.before.items()}
        return found if self.pair_fit is None else found | learner_tensors("pairs", self.pair_fit)

    def numbers(self) -> dict[str, Any]:
        """Where the search stands, as JSON values."""
        return {"taken": self.taken, **dataclasses.asdict(self.progress)}

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any], checkpoint: Path) -> None:
        """Go on from the state of :meth:`tensors` and :meth:`numbers`, read from the folder ``checkpoint``.

        Raises:
            UserError: it is not the state of this search; the message names the file.
        """
        source = checkpoint / STATE_TENSORS
        try:
            self.taken, self.progress = progress_from(numbers, self.steps, self.places_total)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            message = f"{checkpoint / STATE}: found no usable entry {error} of the discovery, expected one"
            raise UserError(message) from None
        self.events.clear()
        tensors = {name: tensor.to(self.device) for name, tensor in tensors.items()}
        like = torch.ones(self._candidates(), len(self.progress.places), device=self.device)
        for name, expected in {"alive": like, "misfit": like[:, 0], "before/misfit": like[0, 0]}.items():
            if name not in tensors:
                raise UserError(f"{source}: found no tensor {name!r} of the discovery, expected one")
            require_alike(source, name, tensors[name], expected)
        self.population = restored(self.template, tensors, self.setting, source)
        self.misfit_before, before = tensors["before/misfit"], len(self.progress.before)
        self.before = saved_rows("before", self.template, before, tensors, source) if before else {}
        self.pair_fit = None
        if self.progress.stage == PAIRS:
            pairs = self.progress.pairs
            rows = saved_rows("pairs", self.template, len(pairs), tensors, source)
            self.pair_fit = PairFit(self.population, pairs, rows)
            restore_optimizer("pairs", self.pair_fit, tensors, source)

    def _candidates(self) -> int:
        """How many models learn side by side where the search stands."""
        if self.progress.stage in (TRIAL, LONGER):
            return 1 + len(self.progress.moves)
        return self.config.starts if self.progress.stage == FORM else 1

    def result(self) -> tuple[dict[str, Tensor], list[int], Tensor]:
        """The fields that are alive, ``(K_alive, ...)`` by name, their places, and the relative misfit ``()``."""
        return self.population.candidate(0), self.progress.places, self.population.misfit[0]


def draw_encoded(sequences: Encoded, size: int, seed: int, stream: str, step: int) -> Encoded:
    """A batch of ``size`` sequences, or all if there are fewer; it depends on seed, stream and step alone."""
    device = sequences.means.device
    size = min(size, len(sequences))
    source = generator(device, seed, stream, step)
    return sequences[torch.randint(len(sequences), (size,), generator=source, device=device)]


def _reshuffled(value: Tensor, source: torch.Generator) -> Tensor:
    """Another draw of initial values: the same ones in another order, each time for another field."""
    flat = value.flatten()
    return flat[torch.randperm(flat.numel(), generator=source).to(flat.device)].view_as(value)
