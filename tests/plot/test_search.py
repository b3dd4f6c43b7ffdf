"""The figure of the search for fields, its sentences, and the curves beside it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from visualize_tools import artists, axes_of, part, sticks_out, texts

from ffrl.config import SupervisedConfig
from ffrl.core.errors import UserError
from stf.discovery.moves_text import describe_move
from stf.plot.compute.roles import FieldRole
from stf.plot.compute.search_log import read_search
from stf.plot.curves import draw_curves, phase_ends
from stf.plot.drawing.style import field_style
from stf.plot.search import draw_search
from stf.report import captions
from stf.report.all_figures import searching


class Logged:
    """Writes the entries of a search as a run does."""

    def __init__(self, num_fields: int, step: int = 100, held_out: bool = True) -> None:
        self.alive, self.step, self.held_out = list(range(num_fields)), step, held_out
        self.entries: list[dict[str, Any]] = []

    def add(self, move: str, fields: list[int], accepted: bool = True, **more: Any) -> None:
        known = {"cost": None, "ratio": None, "evidence": -1e3 / self.step if self.held_out else None}
        search = {"move": move, "fields": fields, "alive": sorted(self.alive), "accepted": accepted} | known | more
        self.entries.append({"step": self.step, "search": search})

    def train(self, steps: int = 100) -> None:
        self.step += steps
        terms = {"log_evidence": -900 / self.step, "residual": 0.5, "misfit": 1.5, "fields_alive": len(self.alive)}
        self.entries.append({"step": self.step} | {f"train/{name}": float(value) for name, value in terms.items()})

    def drop(self, move: str, fields: list[int], *gone: int, **more: Any) -> None:
        self.alive = [place for place in self.alive if place not in gone]
        self.add(move, fields, **more)

    def refill(self, fields: list[int], sources: list[int]) -> None:
        self.alive += fields
        self.add("refill", fields, sources=sources)


def story(held_out: bool = True) -> list[dict[str, Any]]:
    """Every kind of move, of six fields."""
    log = Logged(6, held_out=held_out)
    log.add("start", [])
    log.train()  # 200
    log.add("start", [])
    log.train()  # 300
    log.add("choose", [])
    log.train()  # 400
    log.add("merge", [0, 5], accepted=False, cost=1.0, ratio=0.9)
    log.add("delete", [4], accepted=False, cost=2.0, ratio=0.5)
    log.drop("merge", [1, 3], 3, cost=0.02, ratio=0.04)
    log.train()  # 500
    log.drop("delete", [2], 2, cost=0.01, ratio=0.02)
    log.drop("silent", [4, 5], 4, 5)
    log.train()  # 600
    log.refill([3, 5], [0, 1])
    log.train()  # 700
    log.add("merge", [0, 3], accepted=False, cost=12.0, ratio=0.7)
    log.add("merge", [5, 3], accepted=False, cost=14.0, ratio=0.8)
    log.add("keep", [])
    log.train()  # 800
    log.add("end", [])
    return log.entries


def taken_back() -> list[dict[str, Any]]:
    """A refill of which one copy took the place of its source, and that was taken back."""
    log = Logged(4)
    log.alive = [0, 1]
    log.add("start", [])
    log.train()  # 200
    log.refill([2, 3], [1, 0])
    log.train()  # 300
    log.drop("merge", [2, 1], 1, cost=0.1, ratio=0.1)
    log.train()  # 400
    log.alive = [0, 1]
    log.add("undo", [], cost=0.2, ratio=0.15)
    log.train()  # 500
    log.add("end", [])
    return log.entries


def test_a_refill_that_is_taken_back_ends_its_lanes_and_brings_back_the_old_ones() -> None:
    search = read_search(taken_back())
    assert search.alive == (0, 1) and search.outcome == "4 fields allocated, 2 alive after 3 moves"
    lives = [(one.field, one.begin, one.end, one.fate) for one in search.lives()]
    assert lives == [
        (1, 100, 300, "merge"),
        (2, 200, 400, "undo"),
        (3, 200, 400, "undo"),
        (0, 100, 500, None),
        (1, 400, 500, None),
    ]
    figure = draw_search(search)
    assert len(artists(figure, "end-")) == 2 and not sticks_out(figure)
    assert "refill taken back" in texts(figure).split("\n")
    assert captions.of_search(search).count("a refill was taken back") == 1
    told = [describe_move(entry, 4) for entry in taken_back() if "search" in entry]
    assert told[3] == "2 of 4 fields alive: took the refill back, cost 0.2 nats"
    refused = {"move": "undo", "fields": [], "alive": [0, 1, 2], "accepted": False, "cost": 4.0}
    assert describe_move(refused, 4) == "3 of 4 fields alive: did not take the refill back, which would cost 4 nats"


def line(figure: Any, gid: str) -> tuple[list[float], list[float]]:
    found = part(axes_of(figure, "lanes")[0], gid)
    return list(found.get_xdata()), list(found.get_ydata())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"move": None}, "search.move: found None, expected a text"),
        ({"fields": "x"}, "search.fields: found 'x', expected a list or nothing"),
        ({"alive": ["x"]}, r"search.alive\[0\]: found 'x', expected an integer"),
        ({"alive": [-1]}, "search.alive: found -1, expected the number of a field"),
        ({"alive": [2**40]}, "search.alive: found 1099511627776, expected the number of a field"),
        ({"evidence": {}}, "search.evidence: found {}, expected a number or nothing"),
        ({"accepted": 1}, "search.accepted: found 1, expected true or false"),
    ],
)
def test_an_entry_that_is_none_is_one_line_that_names_its_step(change: dict[str, Any], fault: str) -> None:
    entries = story()
    entries[2] = entries[2] | {"search": entries[2]["search"] | change}
    with pytest.raises(UserError, match=f"^metrics.jsonl: step 200: {fault}"):
        read_search(entries)
    with pytest.raises(UserError, match="^metrics.jsonl: step 200: found no key 'search.move', expected one"):
        read_search([{"step": 200, "search": {}}])


def test_a_search_is_read_as_it_was_logged() -> None:
    search = read_search(story())
    assert search.num_fields == 6 and search.alive == (0, 1, 3, 5) and search.ended
    assert search.outcome == "6 fields allocated, 4 alive after 4 moves"
    lives = [(one.field, one.begin, one.end, one.fate, one.other, one.source) for one in search.lives()]
    assert lives[:6] == [(k, 100, 200, "start", None, None) for k in range(6)]
    assert lives[6:] == [
        (3, 200, 400, "merge", 1, None),
        (2, 200, 500, "delete", None, None),
        (4, 200, 500, "silent", None, None),
        (5, 200, 500, "silent", None, None),
        (0, 200, 800, None, None, None),
        (1, 200, 800, None, None, None),
        (3, 600, 800, None, None, 0),
        (5, 600, 800, None, None, 1),
    ]
    assert [(move.step, move.kind, move.fields) for move in search.refused()] == [
        (400, "delete", (4,)),
        (700, "merge", (0, 3)),
    ]
    assert search.steps.tolist() == [200, 300, 400, 500, 600, 700, 800]


def test_merges_of_merged_fields_at_one_step_end_where_they_all_end() -> None:
    log = Logged(3)
    log.add("start", [])
    log.train()
    log.drop("merge", [1, 2], 2)
    log.drop("merge", [0, 1], 1)
    assert [(one.field, one.other) for one in read_search(log.entries).lives()] == [(2, 0), (1, 0), (0, None)]


def test_lanes_begin_and_end_at_the_steps_of_the_moves() -> None:
    figure = draw_search(read_search(story()))
    (axes,) = axes_of(figure, "lanes")
    lanes = artists(figure, "life-")
    assert set(lanes) == {f"life-{k}-{n}" for k in range(6) for n in (0, 1)} | {"life-3-2", "life-5-2"}
    for gid, artist in lanes.items():
        field = int(gid.split("-")[1])
        assert to_hex(artist.get_color()).upper() == field_style(field).colour
        assert set(artist.get_ydata()) == {field}
    assert line(figure, "life-2-1")[0] == [200, 500] and line(figure, "life-0-1")[0] == [200, 800]
    join = part(axes, "join-5").get_path().vertices
    assert join[0].tolist() == [line(figure, "life-3-1")[0][1], 3] and join[-1].tolist() == [400, 1]
    assert 385 < join[0][0] < 400
    branches = {gid: artist.get_path().vertices for gid, artist in artists(figure, "branch-").items()}
    assert {gid: points[0].tolist() for gid, points in branches.items()} == {
        "branch-8-3": [600, 0],
        "branch-8-5": [600, 1],
    }
    assert branches["branch-8-5"][-1].tolist() == [line(figure, "life-5-2")[0][0], 5]
    ends = {gid: (artist.get_xydata().tolist(), artist.get_marker()) for gid, artist in artists(figure, "end-").items()}
    assert ends == {
        "end-6-2": ([[500, 2]], "X"),
        "end-7-4": ([[500, 4]], "s"),
        "end-7-5": ([[500, 5]], "s"),
    }
    assert part(axes, "ratio-5").get_text() == "0.04"
    assert line(figure, "refused-9") == ([700, 700], [0, 3]) and line(figure, "refused-4")[1] == [4]
    assert set(artists(figure, "refused-")) == {"refused-4", "refused-9"}
    assert line(figure, "kept")[0] == [700]


def test_log_evidence_stands_under_the_lanes() -> None:
    figure = draw_search(read_search(story()), name="a-run")
    (lanes,), (evidence,) = axes_of(figure, "lanes"), axes_of(figure, "evidence")
    assert lanes.get_xlim() == evidence.get_xlim()
    steps, values = part(evidence, "training").get_data()
    assert steps[np.isfinite(steps)].tolist() == [200, 300, 400, 500, 600, 700, 800]
    assert np.isnan(steps).sum() == 1 and np.isnan(steps[1])  # the second start
    assert values[np.isfinite(values)] == pytest.approx(-900 / steps[np.isfinite(steps)])
    dots = part(evidence, "held-out").get_xydata()
    assert dots.tolist() == [[s, -1e3 / s] for s in (100, 200, 300, 400, 500, 500, 600, 700, 800)]
    text = texts(figure)
    assert "Search for the fields of a-run: 6 fields allocated, 4 alive after 4 moves" in text
    for words in (
        "start 2",
        "best start",
        "merged",
        "deleted",
        "hardly ever on",
        "best refused",
        "nats per transition",
    ):
        assert words in text


def test_what_is_not_known_is_not_drawn() -> None:
    (evidence,) = axes_of(draw_search(read_search(story(held_out=False))), "evidence")
    assert [artist.get_gid() for artist in evidence.lines if artist.get_gid()] == ["training"]
    moves = [entry for entry in story(held_out=False) if "search" in entry]
    figure = draw_search(read_search(moves))
    assert axes_of(figure, "evidence") == [] and "Below" not in texts(figure)
    assert axes_of(figure, "lanes")[0].get_xlabel() == "optimisation step"
    running = draw_search(read_search(story()[:8]))
    assert "6 fields allocated, 6 alive so far, after 0 moves" in texts(running)
    assert read_search([{"step": 3, "train/loss": 1.0}]) is None


def test_nothing_accepted_leaves_all_lanes() -> None:
    log = Logged(3)
    log.add("start", [])
    for _ in range(4):
        log.train()
        log.add("merge", [0, 1], accepted=False, cost=1.0, ratio=1.1)
        log.add("keep", [])
    log.add("end", [])
    search = read_search(log.entries)
    figure = draw_search(search, [FieldRole(0, 0, "hue"), FieldRole(1, used=0.25), FieldRole(2, silent=True)])
    assert set(artists(figure, "life-")) == {"life-0-0", "life-1-0", "life-2-0"}
    assert len(artists(figure, "refused-")) == 4 and not artists(figure, "join-") and not artists(figure, "end-")
    assert {"hue", "on 25 %", "silent"} <= set(texts(figure).split("\n"))
    assert captions.of_search(search) == (
        "Of 3 fields, fields 0, 1 and 2 are left; no move was made; of the refused trials the best has the ratio 1.1; "
        "held-out log evidence went from −10.00 to −2.00 nats per transition."
    )


def busy(num_fields: int, moves: int) -> list[dict[str, Any]]:
    """A search of so many random moves, as far as there are fields for them."""
    random = np.random.default_rng(num_fields + moves)
    log = Logged(num_fields)
    log.add("start", [])
    for _ in range(moves):
        log.train()
        alive, empty = list(log.alive), [place for place in range(num_fields) if place not in log.alive]
        if len(alive) > 1:
            log.add("delete", [alive[0]], accepted=False, ratio=0.5, cost=3.0)
        if len(alive) > 1 and random.random() < 0.6:
            kept, gone = random.choice(alive, 2, replace=False).tolist()
            log.drop("merge", [kept, gone], gone, ratio=0.0123, cost=0.1)
        elif empty:
            log.refill(empty[:2], random.choice(alive, len(empty[:2])).tolist())
        elif len(alive) > 1:
            log.drop("delete", [alive[-1]], alive[-1])
        else:
            log.add("keep", [])
    log.train()
    log.add("end", [])
    return log.entries


@pytest.mark.parametrize(("num_fields", "moves"), [(1, 3), (3, 0), (6, 5), (12, 40), (32, 40)])
def test_every_place_has_a_lane_on_the_page(num_fields: int, moves: int) -> None:
    search = read_search(busy(num_fields, moves))
    roles = [FieldRole(field, 0, "lighting_direction") for field in range(num_fields)]
    for figure in (draw_search(search, name="a-run-with-quite-a-long-name"), draw_search(search, roles)):
        assert not sticks_out(figure)
        assert {int(gid.split("-")[1]) for gid in artists(figure, "life-")} == set(range(num_fields))
        names = texts(figure).split("\n")
        assert [f"field {place}" in names for place in range(num_fields)] == [True] * num_fields
    assert captions.of_search(search).endswith(".")


def test_the_caption_tells_what_became_of_the_fields() -> None:
    exhibit = searching(story(), [], "a-run")
    assert exhibit.name == "search" and exhibit.caption == (
        "Of 6 fields, fields 0, 1, 3 and 5 are left: one was merged into another (ratio 0.04), one was deleted (ratio "
        "0.02), 2 were dropped as hardly ever on and 2 were made anew from others; of the refused trials the best has "
        "the ratio 0.5; held-out log evidence went from −10.00 to −1.25 nats per transition."
    )
    assert searching([{"step": 1, "train/loss": 2.0}], [], "a-run") is None


def test_moves_are_told_in_one_sentence() -> None:
    told = [describe_move(entry, 6) for entry in story() if "search" in entry]
    assert told == [
        "6 of 6 fields alive: start of the search, held-out log evidence −10.00 nats per transition",
        "6 of 6 fields alive: start of the search, held-out log evidence −5.00 nats per transition",
        "6 of 6 fields alive: took the best of several starts, held-out log evidence −3.33 nats per transition",
        "6 of 6 fields alive: did not merge 0 and 5, which would cost 1 nats",
        "6 of 6 fields alive: did not delete 4, which would cost 2 nats",
        "5 of 6 fields alive: merged 1 and 3, cost 0.02 nats",
        "4 of 6 fields alive: deleted 2, cost 0.01 nats",
        "2 of 6 fields alive: dropped 4 and 5, hardly ever on",
        "4 of 6 fields alive: refilled 3 from 0 and 5 from 1",
        "4 of 6 fields alive: did not merge 0 and 3, which would cost 12 nats",
        "4 of 6 fields alive: did not merge 5 and 3, which would cost 14 nats",
        "4 of 6 fields alive: kept all 4",
        "4 of 6 fields alive: the search ended, held-out log evidence −1.25 nats per transition",
    ]
    trials = [entry for entry in story() if entry["step"] == 700 and "search" in entry][:2]
    keep = {"move": "keep", "fields": [], "alive": [0, 1, 3, 5], "accepted": True}
    expected = "4 fields alive: kept all 4, the cheapest trial, merging 0 and 3, would cost 12 nats"
    assert describe_move(keep, refused=trials) == expected
    assert describe_move(keep | {"alive": [0]}, 1) == "1 of 1 field alive: kept it"


def test_terms_of_the_discovery_are_no_losses() -> None:
    losses = [{"step": step, "train/loss": 1e3 / step, "train/kl_spike": 1.0} for step in (900, 1000)]
    figure = draw_curves([*story(), *losses])
    names = [axes.get_label() for axes in figure.axes if axes.get_label() != "sheet"]
    assert names == ["loss", "kl_spike", "log_evidence", "residual", "misfit"]
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert min(box.y0 for box in boxes[:2]) > max(box.y1 for box in boxes[2:])
    assert "Discovery of the fields" in texts(figure) and not sticks_out(figure)
    kept = [{"step": step, "train/loss": 9.0} for step in (10, 50)]
    (loss,) = axes_of(draw_curves([*kept, *story(), *losses]), "loss")
    assert loss.lines[0].get_xdata().tolist() == pytest.approx([10, 50, np.nan, 900, 1000], nan_ok=True)
    refined = [{"step": step, "train/misfit": 0.1} for step in (1100, 1200)]
    end = [{"step": 1200, "validation/loss": 8.0}]
    figure = draw_curves([*kept, *story(), *losses, *losses[1:], *refined, *end])
    (misfit,), (loss,) = axes_of(figure, "misfit"), axes_of(figure, "loss")
    assert np.isnan(misfit.lines[0].get_xdata()).nonzero()[0].tolist() == [len(misfit.lines[0].get_xdata()) - 3]
    assert loss.lines[0].get_xdata().tolist() == pytest.approx([10, 50, np.nan, 900, 1000, 1000], nan_ok=True)
    assert loss.lines[1].get_xdata().tolist() == [1200]
    assert "Discovery of the fields" not in texts(draw_curves(losses))
    only = [axes.get_label() for axes in draw_curves(story()).axes if axes.get_label() != "sheet"]
    assert only == names[2:]


def phase(name: str, fraction: float) -> SimpleNamespace:
    return SimpleNamespace(name=name, fraction=fraction)


def test_phases_end_where_the_schedule_says() -> None:
    schedule = (phase("still", 0.1), phase("discovery", 0.3), phase("none", 0.0), phase("joint", 0.6))
    config = SimpleNamespace(steps=1000, schedule=schedule)
    assert phase_ends(config) == pytest.approx({"still frames end": 100.0, "discovery ends": 400.0})
    assert phase_ends(SimpleNamespace(steps=1000, schedule=(phase("joint", 1.0), phase("never", 0.0)))) == {}
    assert list(phase_ends(SupervisedConfig())) == ["still frames end"]
    metrics = [{"step": step, "train/loss": 1.0} for step in (10, 1000)]
    (loss,) = axes_of(draw_curves(metrics, {"a ends": 100.0, "discovery ends": 400.0, "b ends": 500.0}), "loss")
    lines = {line.get_label(): line.get_linestyle() for line in loss.lines}
    assert lines["discovery ends"] == "-."
    widths = {str(line._dash_pattern) for line in loss.lines if line.get_label() in ("a ends", "b ends")}
    assert len(widths) == 2


def test_lanes_of_two_searches_are_apart() -> None:
    log = Logged(2)
    for move in ("start", "end", "start", "end"):
        log.add(move, [])
        log.train()
    search = read_search(log.entries)
    first, second = [move.step for move in search.moves if move.kind == "start"]
    ends = [move.step for move in search.moves if move.kind == "end"]
    assert [search.again(move) for move in search.moves] == [False, False, True, False]
    lives = {(life.begin, life.end) for life in search.lives()}
    assert lives == {(first, ends[0]), (second, ends[1])}
    words = texts(draw_search(search))
    assert "second search" in words and "start 2" not in words
