"""The search as a machine of stages: what its log says, budgets, data without motion, and going on from any step."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from discovery_tools import DIM, Field, bend, helmholtz, line, planted, rotation, run, scaled, setting, short
from safetensors.torch import load, save
from torch import Tensor

from ffrl.core.errors import UserError
from stf.discovery.measures import changes, evidence_at_rest, lacks, on_rates, relative_residuals
from stf.discovery.moves_text import HARDLY, describe_move
from stf.discovery.pairs import PairFit
from stf.discovery.population import Population, gather, rows_of
from stf.discovery.progress import FORM, LONGER, PAIRS, POLISH, SETTLE, TRIAL, Move
from stf.discovery.search import Search
from stf.discovery.trials import AT_ONCE, PLENTY, SUMS, given_up, judge, shared
from stf.inference.encoded import Encoded
from stf.inference.evidence import LEAST_MISFIT

FIELDS = [rotation(0, 1), line(2), bend(4, 5)]
QUICK: dict[str, Any] = dict(form=12, pairs=3, trial=3, longer=4, settle=4, polish=4, batch_size=8, trial_batch_size=6)
"""Lengths of stages at which nothing is learnt well, but every stage is gone through."""
EAGER, SHY = dict(accept=1e9, screen=1e9), dict(accept=-1e9, accept_longer=-1e9, hopeless=1e9, screen=1e9)
"""Every trial is accepted; every trial goes on for longer, and is refused."""


def data(fields: list[Field] = FIELDS, **more: Any) -> tuple[Encoded, Encoded]:
    """Sequences for training and for the held-out evidence."""
    train, held = (planted(fields, count, seed, steps=4, **more).encoded for count, seed in ((60, 1), (16, 2)))
    return train, held


def search(
    steps: int, places: int = 4, seed: int = 0, encoded: tuple[Encoded, Encoded] | None = None, **changes: Any
) -> Search:
    prior = changes.pop("prior", setting(most=2, steps=4))
    train, held = data() if encoded is None else encoded
    template = helmholtz(places, seed, width=6, timed=prior.timed)
    config = SimpleNamespace(**(vars(short(**QUICK)) | changes))  # what a configuration would not take, too
    return Search(config, template, prior, train, held, steps, seed)


def check_log(done: Search, places: int, steps: int) -> None:
    """Start first, end last, and sets of places that follow from the moves between."""
    events = done.events
    names = [event["move"] for event in events]
    assert names[0] == "start" and names[-1] == "end"
    assert names.count("start") == names.count("end") == 1
    assert done.taken == steps and done.progress.finished
    alive, before = set(range(places)), None
    for event in events:
        assert event["alive"] == sorted(set(event["alive"])) and event["allocated"] == places
        now, fields = set(event["alive"]), event["fields"]
        if event["move"] in ("merge", "delete"):
            assert len(fields) == (2 if event["move"] == "merge" else 1) and set(fields) <= alive
            assert now == (alive - {fields[-1]} if event["accepted"] else alive)
            assert math.isfinite(event["cost"]) and math.isfinite(event["ratio"])
        elif event["move"] == "silent":
            assert fields and set(fields) < alive and now == alive - set(fields)
        elif event["move"] == "refill":
            assert fields and not set(fields) & alive and now == alive | set(fields)
            assert len(event["sources"]) == len(fields) and set(event["sources"]) <= alive
            before = alive
        elif event["move"] == "undo":
            assert not fields and now == (before if event["accepted"] else alive) and len(before) < len(alive)
            assert math.isfinite(event["cost"]) and math.isfinite(event["ratio"])
        else:
            assert now == alive and not fields
        assert now
        assert describe_move(event, places)
        alive = now
    rows, where, misfit = done.result()
    assert sorted(where) == events[-1]["alive"] and misfit.isfinite()
    assert all(len(value) == len(where) and value.isfinite().all() for value in rows.values())
    assert len(events[-1]["on"]) == len(where) and all(0 <= rate <= 1 for rate in events[-1]["on"])
    json.dumps(events, allow_nan=False)


# -- moves and budgets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, EAGER, SHY, dict(rounds=3), dict(rounds=1, starts=3)])
def test_the_log_is_consistent_and_every_step_is_taken(changes):
    steps = 60
    for seed in (0, 1):
        check_log(run(search(steps, seed=seed, **changes)), 4, steps)


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize("changes", [{}, EAGER, dict(starts=2)])
def test_small_budgets_end_properly(steps, changes):
    check_log(run(search(steps, **changes)), 4, steps)


def test_exactly_the_steps_are_taken():
    begun = search(50)
    for number in range(50):
        assert not begun.progress.finished and begun.taken == number
        terms = begun.step()
        assert {value.shape for value in terms.values()} == {()} and terms["fields_alive"] >= 1
    assert begun.progress.finished and begun.taken == 50


def test_stages_follow_one_another():
    begun, stages = search(60, rounds=2, silent=0.0, **SHY), []
    while not begun.progress.finished:
        if not stages or stages[-1] != begun.progress.stage:
            stages.append(begun.progress.stage)
        begun.step()
    assert stages[:5] == [FORM, PAIRS, TRIAL, LONGER, SETTLE]  # no place is empty, and nothing refilled
    assert stages[-1] == POLISH and "refill" not in {event["move"] for event in begun.events}
    begun, stages = search(60, rounds=2, extra=1, **EAGER), []
    while not begun.progress.finished:
        if not stages or stages[-1] != begun.progress.stage:
            stages.append(begun.progress.stage)
        begun.step()
    assert stages[:3] == [FORM, PAIRS, TRIAL] and SETTLE in stages and stages[-1] == POLISH
    assert {event["move"] for event in begun.events} >= {"start", "refill", "end"}


def test_the_last_stage_has_the_time_it_is_meant_to_have():
    for steps in (30, 60, 100):
        begun = search(steps)
        polish = begun._length(begun.config.polish)
        while begun.progress.stage != POLISH:
            begun.step()
        assert steps - begun.taken >= polish


def test_one_place_is_enough():
    done = run(search(60, places=1))
    check_log(done, 1, 60)
    assert [event["move"] for event in done.events] == ["start", "end"]


def test_weak_and_timed_settings():
    prior = setting(timed=True, steps=4, slab="unit", most=1, constant=True)
    check_log(run(search(60, encoded=data(constant=True), prior=prior)), 4, 60)


@pytest.mark.parametrize("slab", ["signed", "unit"])
def test_other_slabs(slab):
    check_log(run(search(50, prior=setting(slab=slab, most=2, steps=4))), 4, 50)


def test_more_places_than_are_enumerated():
    check_log(run(search(60, places=6, prior=setting(most=2, enumerated=3, steps=4), **EAGER)), 6, 60)


@pytest.mark.parametrize(("places", "more"), [(PLENTY, 0), (PLENTY + 2, 2), (24, 3), (32, 2), (60, 0)])
def test_of_more_fields_than_plenty_more_are_tried_at_once_up_to_a_limit(places, more):
    begun = search(60, places=places, silent=0.0, screen=1e9)
    while begun.progress.stage != TRIAL:
        begun.step()
    kinds = [move.kind for move in begun.progress.moves]
    assert (kinds.count("merge"), kinds.count("delete")) == (begun.config.merges + more, begun.config.deletions + more)
    assert begun.population.count * places <= AT_ONCE or more == 0


@pytest.mark.parametrize(("room", "length"), [(30, 20), (15, 15), (10, 10), (9, None)])
def test_a_longer_trial_takes_half_its_time_where_there_is_no_more(room, length):
    begun = search(200)
    polish = begun.config.polish
    begun.taken = begun.steps - polish - room
    begun._enter(LONGER, 20)
    found = begun.progress.stage, begun.progress.length
    assert found == ((LONGER, length) if length else (POLISH, room + polish))


def test_where_one_field_acts_throughout_moves_are_judged_by_beginnings():
    prior = setting(slab="unit", most=1, constant=True, steps=4)
    train, held = data(constant=True)
    begun = search(60, prior=prior, encoded=(train, held))
    assert torch.equal(begun.held.means, held.means[:, :2]) and torch.equal(begun.sequences.means, train.means)
    assert torch.equal(search(60).held.means, data()[1].means)


def test_without_deletions_and_without_merges_worth_a_trial():
    done = run(search(80, deletions=0, screen=0.0, silent=0.0))
    check_log(done, 4, 80)
    assert done.events[-1]["alive"] == [0, 1, 2, 3]


def test_the_search_repeats_itself():
    first, second = run(search(50)), run(search(50))
    assert first.events == second.events
    other = run(search(50, seed=1))
    assert other.events != first.events
    for name, value in first.result()[0].items():
        assert torch.equal(value, second.result()[0][name])


def test_the_module_that_is_given_stays_as_it_is():
    template = helmholtz(3, width=6)
    before = {name: value.clone() for name, value in rows_of(template).items()}
    run(Search(short(**QUICK), template, setting(most=2), *data(), 40, 0))
    assert all(torch.equal(value, before[name]) for name, value in rows_of(template).items())
    assert template.num_fields == 3


def test_of_several_starts_the_best_goes_on():
    begun = search(60, starts=3)
    assert begun.population.count == 3
    start = rows_of(begun.template)
    for name, value in begun.population.candidate(0).items():
        assert torch.equal(value, start[name])
    for c in (1, 2):
        for name, value in begun.population.candidate(c).items():
            assert torch.equal(value.flatten().sort().values, start[name].flatten().sort().values)
            assert not torch.equal(value, start[name])
    while begun.progress.stage == FORM:
        kept = begun.population
        begun.step()
    evidence = kept.held_out(begun.held)
    chosen = next(event for event in begun.events if event["move"] == "choose")
    assert chosen["start"] == int(evidence.argmax()) and chosen["evidence"] == pytest.approx(float(evidence.max()))
    assert begun.progress.stage == PAIRS and begun.population.count == 1


# -- decisions ---------------------------------------------------------------------------------------------------------


def exact(places: list[int], size: float = 1.0) -> tuple[Population, Encoded]:
    """A model of which field k is exactly the constant ``places[k]`` of three, and sequences of these."""
    fields = [line(0), line(2), line(4)]
    turn, template = planted(fields, 1, 0), helmholtz(len(places), width=6)
    rows = {name: value.clone() for name, value in rows_of(template).items()}
    rows["rotational.scale"].zero_()
    rows["rotational.linear"].zero_()
    rows["potentials.weight"].zero_()
    for k, place in enumerate(places):  # a unit of the potential with a bias so large that its slope is 1
        direction = turn.fields[0, 0, place]
        rows["potentials.weight"][k, 0] = 1e-3 * direction
        rows["potentials.bias"][k] = 20.0
        rows["potentials.scale"][k] = 0
        rows["potentials.scale"][k, 0] = 1e3 * size
    encoded = planted(fields, 60, 3).encoded
    return gather([(rows, torch.ones(len(places)))], template, torch.tensor(0.01), setting(most=2)), encoded


def test_two_halves_of_one_transformation_are_worth_what_both_are():
    """Each is on whenever the other one is, so that nothing tells them apart."""
    population, encoded = exact([0, 0], size=0.5)
    misfit, variants = torch.tensor(0.05), torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    lost, share = lacks(population, encoded, misfit)
    with_both, with_none = population.held_out(encoded, misfit, variants).tolist()
    assert lost == pytest.approx([with_both - with_none] * 2) and lost[0] > 1
    assert share == [[1.0, 1.0], [1.0, 1.0]]


def decided(known: list[int], lacking: list[int], moves: list[tuple[int, ...]]) -> Search:
    """A search that has decided about trials of an exact model, each of which lacks one field."""
    population, encoded = exact(known)
    begun = search(400, places=len(known), encoded=(encoded, encoded))
    while begun.progress.stage != TRIAL:
        begun.step()
    alive = torch.ones(1 + len(moves), len(known))
    alive[range(1, 1 + len(moves)), lacking] = 0
    rows = population.candidate(0)
    begun.population = gather([(rows, one) for one in alive], begun.template, torch.tensor(0.01), begun.setting)
    begun.progress.places = list(range(len(known)))
    begun.progress.moves = [Move(places, 1.0) for places in moves]
    begun.events.clear()
    begun._decide(TRIAL)
    return begun


def test_two_duplicates_are_not_both_deleted():
    """Either may go, as the other remains: the second deletion is no longer what its trial was."""
    begun = decided([0, 1, 1, 2], [1, 2], [(1,), (2,)])
    moves = [event for event in begun.events if event["move"] in ("merge", "delete")]
    assert [event["move"] for event in moves] == ["delete"] and moves[0]["accepted"]
    assert len(begun.progress.places) == 3 and {0, 3} <= set(begun.progress.places)


def test_moves_that_go_together_are_made_together():
    begun = decided([0, 0, 1, 1, 2], [1, 3], [(0, 1), (2, 3)])
    moves = [event for event in begun.events if event["move"] == "merge"]
    assert {tuple(event["fields"]) for event in moves} == {(0, 1), (2, 3)}
    assert begun.progress.places == [0, 2, 4] and begun.events[1]["alive"] == [0, 2, 4]


@pytest.mark.parametrize("refilled,kept", [([0, 1, 2, 2], False), ([0, 1, 2], True)])
def test_a_refill_is_taken_back_unless_it_gains_something(refilled, kept):
    """A copy of a field gains nothing; the field that was lacking does."""
    old, encoded = exact(refilled[:-1])
    new, _ = exact(refilled)
    begun = search(400, places=4, encoded=(encoded, encoded))
    begun.population = new
    begun.progress.before, begun.progress.places = list(range(len(refilled)))[:-1], list(range(len(refilled)))
    begun.before, begun.misfit_before = old.candidate(0), torch.tensor(0.01)
    begun._weigh_refill()
    event = begun.events[-1]
    assert event["move"] == "undo" and event["accepted"] is not kept
    assert begun.progress.places == list(range(len(refilled)))[: None if kept else -1] == event["alive"]
    expected = (new if kept else old).candidate(0)
    assert all(torch.equal(value, expected[name]) for name, value in begun.population.candidate(0).items())
    assert describe_move(event, 4).count("take the refill back" if kept else "took the refill back") == 1
    begun._weigh_refill()
    assert begun.events[-1] is event, "it is weighed once"


def test_a_poor_model_keeps_what_it_gets():
    old, encoded = exact([0, 1])
    begun = search(400, places=4, encoded=(encoded, encoded))
    begun.population, _ = exact([0, 1, 1])
    begun.progress.places, begun.progress.before = [0, 1, 2], [0, 1]
    begun.before, begun.misfit_before = old.candidate(0), torch.tensor(0.4)
    begun._weigh_refill()
    assert begun.progress.places == [0, 1, 2] and begun.events[-1]["move"] == "start"


def test_a_refill_that_merges_have_undone_is_not_weighed():
    population, encoded = exact([0, 1])
    begun = search(400, places=4, encoded=(encoded, encoded))
    begun.population, begun.progress.places, begun.progress.before = population, [0, 3], [0, 1]
    begun.before = population.candidate(0)
    begun._weigh_refill()
    assert begun.progress.places == [0, 3] and begun.events[-1]["move"] == "start" and not begun.progress.before


def test_what_a_trial_gave_up_is_the_job_of_a_field_that_has_another_one_now():
    """The place of the first constant is deleted, and the field of the third does its job instead of its own."""
    population, encoded = exact([0, 1, 2])
    begun = search(400, places=3, encoded=(encoded, encoded))
    rows, alive = population.candidate(0), torch.ones(3)
    recruited = {name: value.clone() for name, value in rows.items()}
    for value in recruited.values():
        value[2] = value[0]
    lacking = torch.tensor([0.0, 1, 1])
    candidates = [(rows, alive), (rows, lacking), (recruited, lacking)]
    trials, misfit = gather(candidates, begun.template, torch.tensor(0.01), begun.setting), torch.tensor(0.01)
    assert given_up(trials, [Move((0,), 30.0)] * 2, [30.0, 20.0, 4.0], [0, 1, 2], encoded, misfit) == [30.0, 4.0]
    assert changes(trials, encoded, misfit)[2][1] == 0


def directions(lacking: bool) -> tuple[Population, Encoded]:
    """Four constants in a plane, two pairs of opposite ones; and three of them that point 120 degrees apart."""
    planar = [line(2), scaled(line(2), -1), line(3), scaled(line(3), -1)]
    turn, template = planted(planar, 1, 0), helmholtz(4, width=6)
    right, up = turn.fields[0, 0, 0], turn.fields[0, 0, 2]
    pointing = [right, -right, up, -up]
    if lacking:
        pointing = [math.cos(a) * right + math.sin(a) * up for a in (0, 2 * math.pi / 3, 4 * math.pi / 3)] + [-up]
    rows = {name: torch.zeros_like(value) for name, value in rows_of(template).items()}
    for k, direction in enumerate(pointing):
        rows["potentials.weight"][k, 0] = 1e-3 * direction
        rows["potentials.bias"][k] = 20.0
        rows["potentials.scale"][k, 0] = 1e3
    alive = torch.tensor([1.0, 1, 1, 0 if lacking else 1])
    encoded = planted(planar, 60, 3).encoded
    return gather([(rows, alive)], template, torch.tensor(0.01), setting(most=2)), encoded


def test_three_fields_that_do_what_four_did_share_their_steps():
    """Little evidence is lost where opposite directions become sums of others, but they take two fields each."""
    four, encoded = directions(lacking=False)
    three, _ = directions(lacking=True)
    misfit = torch.tensor(0.05)
    trials = four.like([(one.candidate(0), one.alive[0]) for one in (four, three)], misfit)
    moves = [Move((1, 3), 1.0)]
    (rise,) = shared(trials, moves, [0, 1, 2, 3], encoded, misfit)
    assert rise > 1
    lost = four.held_out(encoded, misfit) - three.held_out(encoded, misfit)
    assert 0 < float(lost) < 0.5 * min(lacks(four, encoded, misfit)[0])
    _, (ratio,) = judge(trials, moves, [1e3] * 4, [0, 1, 2, 3], encoded, misfit)
    assert ratio == pytest.approx(rise / SUMS)


def test_a_field_less_for_one_transformation_shares_nothing():
    population, encoded = exact([0, 1, 1, 2])
    misfit = torch.tensor(0.05)
    rows = population.candidate(0)
    trials = population.like([(rows, torch.tensor(one)) for one in ([1.0, 1, 1, 1], [1.0, 1, 0, 1])], misfit)
    (rise,) = shared(trials, [Move((1, 2), 1.0)], [0, 1, 2, 3], encoded, misfit)
    assert rise < 0.05


def test_moves_are_judged_alike_whatever_the_misfit():
    """Poor models have a large misfit, at which every loss is cheap."""
    population, encoded = exact([0, 1, 1, 2])
    found = []
    for misfit in (0.01, 2.0):
        begun = search(400, encoded=(encoded, encoded))
        while begun.progress.stage != PAIRS:
            begun.step()
        given = [(population.candidate(0), torch.ones(4))]
        begun.population = gather(given, begun.template, torch.tensor(misfit), begun.setting)
        begun.progress.places = [0, 1, 2, 3]
        begun.pair_fit = PairFit(begun.population, begun.progress.pairs)
        begun._try()
        found.append(begun.progress.gone)
    assert found[0] == found[1]
    assert min(found[0][0], found[0][3]) > 10 * max(found[0][1], found[0][2]) > 0


def test_what_is_gone_has_a_floor_where_all_fields_are_duplicates():
    begun = search(200, encoded=data([line(2)]))
    while begun.progress.stage != TRIAL:
        begun.step()
    least = min(move.gone for move in begun.progress.moves)
    assert least > 0.005 * -evidence_at_rest(begun.held, LEAST_MISFIT) / 4


def test_evidence_at_rest_is_that_of_a_model_without_fields(float64):
    encoded = data()[1]
    encoded = Encoded(encoded.means.double(), encoded.unit.double())
    found = gather([(rows_of(helmholtz(2)), torch.zeros(2))], helmholtz(2), torch.tensor(0.3), setting())
    assert float(found.held_out(encoded)) == pytest.approx(evidence_at_rest(encoded, 0.3), rel=1e-9)


def test_on_rates_and_relative_residuals():
    population, encoded = exact([0, 1, 1, 2])
    with torch.no_grad():
        population.fields.get_parameter("potentials.scale")[3] *= 0.7
    rates = on_rates(population, encoded)
    assert rates[0] == pytest.approx(1 / 3, abs=0.12) and rates[1] + rates[2] == pytest.approx(1 / 3, abs=0.12)
    assert rates.sum() == pytest.approx(1.0, abs=0.1)
    assert torch.allclose(on_rates(population, encoded, chunk=7), rates)
    residuals = relative_residuals(population, encoded)
    assert residuals[3] > residuals[0] > 0


# -- data with nothing to tell apart -----------------------------------------------------------------------------------


def still_frames(exactly: bool) -> tuple[Encoded, Encoded]:
    train, held = (planted([], count, seed, steps=4).encoded for count, seed in ((300, 1), (60, 2)))
    if not exactly:
        return train, held
    return tuple(Encoded(part.means[:, :1].expand_as(part.means).clone(), part.unit) for part in (train, held))


@pytest.mark.parametrize("exactly", [False, True])
@pytest.mark.parametrize("slab", ["positive", "signed"])
def test_without_motion_no_field_is_ever_on(exactly, slab):
    done = run(search(120, encoded=still_frames(exactly), prior=setting(slab=slab, most=2, steps=4), form=60))
    check_log(done, 4, 120)
    end = done.events[-1]
    assert max(end["on"]) < HARDLY
    assert describe_move(end, 4).endswith("no field is ever on: no motion beyond the encoder's noise was found")


def test_motion_is_not_said_to_be_missing():
    done = run(search(120, encoded=data([line(2)]), form=60))
    assert max(done.events[-1]["on"]) > 0.2
    assert "no motion" not in describe_move(done.events[-1], 4)


def test_everything_always_moves():
    done = run(search(120, encoded=data(at_a_time=3), form=60))
    check_log(done, 4, 120)
    assert sum(done.events[-1]["on"]) > 0.9


def test_one_sequence_and_batches_larger_than_the_data():
    train, held = data()
    check_log(run(search(60, encoded=(train[:1], held[:1]))), 4, 60)


# -- saving and loading ------------------------------------------------------------------------------------------------


def stored(tensors: dict[str, Tensor], numbers: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What files make of a state."""
    copies = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    return load(save(copies)), json.loads(json.dumps(numbers, allow_nan=False))


def states_of(begun: Search) -> dict[str, tuple[int, Any, Any]]:
    """A state from the middle and the end of every kind of stage that is gone through."""
    found = {}
    while not begun.progress.finished:
        progress = begun.progress
        where = {progress.length // 2: "middle", progress.length - 1: "last"}.get(progress.done)
        key = f"{progress.stage} {where}"
        if where is not None and key not in found:
            found[key] = (begun.taken, *stored(begun.tensors(), begun.numbers()), len(begun.events))
        begun.step()
    return found


@pytest.mark.parametrize("changes", [EAGER, SHY | dict(rounds=1), dict(starts=2)])
def test_from_any_step_the_search_goes_on_bit_for_bit(changes):
    steps = 45
    whole = search(steps, places=3, **changes)
    states = states_of(whole)
    assert {key.split()[0] for key in states} >= {FORM, PAIRS, TRIAL, POLISH}
    rows, places, misfit = whole.result()
    for key, (taken, tensors, numbers, events) in states.items():
        again = search(steps, places=3, **changes)
        again.load(tensors, numbers, Path("state"))
        assert again.taken == taken and again.events == []
        kept, same = stored(again.tensors(), again.numbers())
        assert same == numbers and kept.keys() == tensors.keys(), key
        assert all(torch.equal(kept[name], value) for name, value in tensors.items())
        run(again)
        assert again.events == whole.events[events:], key
        others, where, error = again.result()
        assert where == places and torch.equal(error, misfit)
        assert all(torch.equal(others[name], value) for name, value in rows.items()), key


def test_states_of_all_stages_are_tried():
    seen = set()
    for options in (EAGER, SHY | dict(rounds=1)):
        begun = search(45, places=3, **options)
        while not begun.progress.finished:
            seen.add(begun.progress.stage)
            begun.step()
    assert seen == {FORM, PAIRS, TRIAL, LONGER, SETTLE, POLISH}


def test_a_state_of_other_fields_is_not_taken():
    begun = search(60)
    begun.step()
    tensors, numbers = stored(begun.tensors(), begun.numbers())
    with pytest.raises(UserError):
        search(60).load(
            {name: value for name, value in tensors.items() if "weight" not in name}, numbers, Path("state")
        )
    with pytest.raises(UserError):
        search(60).load(tensors, numbers | {"unknown": 1}, Path("state"))


# -- symmetry ----------------------------------------------------------------------------------------------------------


def test_permuted_fields_give_permuted_results(float64):
    order = [2, 0, 3, 1]
    train, held = (Encoded(part.means.double(), part.unit.double()) for part in data())
    template = helmholtz(4, width=6)
    permuted = helmholtz(4, width=6)
    with torch.no_grad():
        for parameter in permuted.parameters():
            parameter.copy_(parameter[order])
    results = []
    for fields in (template, permuted):
        begun = Search(short(**QUICK), fields, setting(most=2, steps=4), train, held, 60, 0)
        while begun.progress.stage == FORM:
            begun.step()
        results.append(begun)
    plain, moved = results
    for name, value in plain.population.candidate(0).items():
        assert torch.allclose(moved.population.candidate(0)[name], value[order], rtol=1e-6, atol=1e-9)
    assert torch.allclose(moved.population.misfit, plain.population.misfit)
    relabelled = {(order[a], order[b], turned) for a, b, turned in moved.progress.pairs}
    assert relabelled == set(plain.progress.pairs)
    points = train.means[:4]
    velocities = plain.population.fields.units().per_control(points)
    assert torch.allclose(moved.population.fields.units().per_control(points), velocities[..., order, :], atol=1e-8)
    assert points.shape[-1] == DIM
