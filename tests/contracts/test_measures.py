"""What holds for every measure: plain results, tables that all writers write, and one file for a new one."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmark_tools import line_of, table1
from distributions import installing
from evaluation_standins import ShiftedPictures, ShiftedStates, UnknownPictures, small
from report_tools import Page
from rich.console import Console
from vector_tools import vector_data

import ffrl.evaluation.measures as measures
import ffrl.evaluation.registry as registry
from ffrl.config import ObjectiveConfig
from ffrl.core.errors import UserError
from ffrl.core.registry import Registry, modules_in
from ffrl.core.terminal import printable
from ffrl.data.base import SequenceData
from ffrl.evaluation.evaluate import evaluate, measured
from ffrl.evaluation.protocol.measure import Measure, Task
from ffrl.evaluation.protocol.needs import Need, available
from ffrl.evaluation.registry import MEASURES, criteria_of, metrics_of, numbers_of, summaries_of, tables_of
from ffrl.evaluation.report.terminal import print_report
from ffrl.tables.html import to_html
from ffrl.tables.latex import to_latex
from ffrl.tables.markdown import to_markdown
from ffrl.tables.table import Column, Number, Row, Table, as_number
from ffrl.tables.terminal import print_table
from stf.benchmark.tables.writing import write_tables
from stf.report.tables import evaluation_tables

DATA: dict[str, Callable[[], SequenceData]] = {
    "pictures": ShiftedPictures,
    "states": lambda: ShiftedStates(limit=(99.0, 10.0, 8.0)),
    "unknown": UnknownPictures,
    "vectors": lambda: vector_data(known=True),
    "unknown-vectors": lambda: vector_data(known=False),
}
HEAD = {"split", "seed", "sequences", "samples", "units", "data", "model"}
ALWAYS = {"prediction", "likelihood"}
KNOWN = {"equivariance"}
FOUND = {"supervised": set(), "weak": {"confusion"}, "unsupervised": {"alignment", "calibration", "criteria"}}
KEYS = {
    ("vectors", "supervised"): HEAD | ALWAYS | {"features"},
    ("vectors", "unsupervised"): HEAD | ALWAYS | {"features"} | FOUND["unsupervised"],
    ("unknown-vectors", "unsupervised"): HEAD | ALWAYS | {"features", "fields"},
    **{("pictures", mode): HEAD | ALWAYS | KNOWN | found for mode, found in FOUND.items()},
    **{
        ("states", mode): HEAD | ALWAYS | KNOWN | found | {"extrapolation", "composition", "switching"}
        for mode, found in FOUND.items()
    },
    **{("unknown", mode): HEAD | ALWAYS | {"fields"} for mode in ("weak", "unsupervised")},
}
"""The entries of an evaluation, which others read, by data and mode."""
SCORES = {
    "factors": ["scaling"],
    "images": 6,
    "frames": 2000,
    "dci": {"disentanglement": 0.25, "completeness": 0.5, "informativeness": {"scaling": 0.1}},
    "mig": {"score": 0.125, "per_factor": {"scaling": 0.2}},
    "linear_probe": {"scaling": 0.4, "mean": 0.4},
    "method": {"dci": "how it is done"},
}
every_case = pytest.mark.parametrize("case", KEYS, ids="-".join)
every_measure = pytest.mark.parametrize("name", MEASURES)


@cache
def _result(data: str, mode: str) -> str:
    made = DATA[data]()
    model = small(mode, made, ObjectiveConfig(bound="paper", density="trace"))
    return json.dumps(evaluate(model, made, sequences=6, samples=2), allow_nan=False)


def result_of(case: tuple[str, str]) -> dict[str, Any]:
    """An evaluation of a random model as a file holds it."""
    return json.loads(_result(*case))


def everything() -> dict[str, Any]:
    """Entries of all measures side by side."""
    found: dict[str, Any] = {"codes": SCORES}
    for case in KEYS:
        found |= result_of(case)
    return found


def written(table: Table) -> dict[str, str]:
    """A table by all writers."""
    stream = io.StringIO()
    print_table(table, Console(file=stream, width=80))
    return {
        "terminal": stream.getvalue(),
        "html": to_html(table),
        "markdown": to_markdown(table),
        "latex": to_latex(table),
    }


def numbers_in(value: Any) -> list[float]:
    """All numbers inside nested dicts and lists."""
    if isinstance(value, dict | list):
        return [one for item in (value.values() if isinstance(value, dict) else value) for one in numbers_in(item)]
    return [value] if isinstance(value, int | float) else []


@every_case
def test_an_evaluation_has_the_entries_that_others_read(case: tuple[str, str]) -> None:
    result = result_of(case)
    assert set(result) == KEYS[case]
    assert all(map(math.isfinite, numbers_in(result)))


def test_there_are_measures_for_every_entry() -> None:
    kinds = registry.Guard().kinds()
    keys = [key for kind in kinds.values() for key in kind.keys]
    assert len(keys) == len(set(keys)) and set(keys) | {"criteria"} == set().union(*KEYS.values()) - HEAD | {"codes"}
    assert {need for kind in kinds.values() for need in kind.needs} == set(Need), "nothing is asked in vain"
    assert list(kinds) == sorted(kinds, key=lambda name: kinds[name].place)


@every_measure
def test_a_measure_is_shown_from_its_result_alone(name: str) -> None:
    kind, result = MEASURES[name], everything()
    tables = kind.tables(result)
    assert issubclass(kind, Measure) and tables and set(kind.units) <= set(result["units"])
    for table in tables:
        assert table.title and all(len(row.cells) == len(table.columns) for row in table.rows)
        cells = [as_number(cell) for row in table.rows for cell in row.cells]
        assert any(number is not None for number in cells), "it shows a number"
    summary, numbers = kind.summary(result), kind.numbers(result)
    assert summary is None or (summary and "\n" not in summary and "None" not in summary)
    assert all(value is None or isinstance(value, str | int | float | dict) for value in numbers.values())
    metrics = kind.metrics(numbers)
    assert {metric.key for metric in metrics} <= set(numbers) and all(metric.about for metric in metrics)
    for line in kind.criteria(result):
        assert isinstance(line["reached"], bool) and {"at_least", "at_most", "exactly"} & set(line)


@every_case
def test_every_table_is_written_by_every_writer(case: tuple[str, str]) -> None:
    result = result_of(case)
    tables = tables_of(result)
    assert {table.name for table in tables} == {table.name for table in evaluation_tables(result)}
    assert len({table.name for table in tables}) == len(tables)
    for table in tables:
        texts = written(table)
        assert max(map(len, texts["terminal"].splitlines())) <= 80 and "…" not in texts["terminal"]
        page = Page(texts["html"])
        assert not page.faults
        assert len(page.tables[f"table-{table.name}"]) == len(table.rows) + 1
        assert texts["markdown"].count("\n| ") == len(table.rows) + 2
        assert texts["latex"].isascii() and texts["latex"].count(r" \\") >= len(table.rows) + 1
        for row in table.rows:
            for shown in table.texts(row):
                mean = shown.split(" ")[0]
                assert mean in texts["html"] and mean.rstrip("*") in texts["terminal"]


NASTY = "<script>alert('x')</script> | [bold]x[/bold] [a](javascript:b) \\end{table} $1 % & `c` **d**\n\x1b[31m"


@pytest.mark.parametrize("writer", ["terminal", "html", "markdown", "latex"])
def test_hostile_text_is_written_as_it_is(writer: str) -> None:
    columns = [Column(NASTY, "low", unit=NASTY, block=NASTY), Column(NASTY)]
    rows = [Row(NASTY, [NASTY, Number(1.5, best=True)]), Row(NASTY, [None, float("nan")])]
    text = written(Table("nasty", NASTY, NASTY, columns, rows, [NASTY], "–"))[writer]
    assert "\x1b" not in text
    if writer == "terminal":
        squeezed = "".join(text.split()).replace("│", "")
        assert "[bold]x[/bold]" in squeezed and "[a](javascript:b)" in squeezed
    elif writer == "html":
        page = Page(text)
        assert not page.faults and "<script" not in text and page.of("strong") == [{}]
        assert page.tables["table-nasty"][1][0] == printable(NASTY) and page.words["p"] == [printable(NASTY)]
    elif writer == "markdown":
        assert "<script" not in text.replace("\\<", "") and "](" not in text.replace("\\](", "")
        for line in text.splitlines()[2:6]:
            cells = line.replace("\\|", "").split("|")
            assert len(cells) == 5, "every bar that is no border is escaped"
    else:
        assert r"\end{table}" == text.rstrip()[-11:] and text.count(r"\end{table}") == 1
        assert r"\$1 \% \& " in text


def test_columns_of_a_benchmark_are_those_of_its_numbers() -> None:
    numbers = numbers_of(everything())
    metrics, failed = metrics_of(numbers)
    assert not failed and len({metric.key for metric in metrics}) == len(metrics)
    assert {metric.key for metric in metrics} <= set(numbers)
    directions = {metric.key: metric.column.better for metric in metrics}
    assert directions["error/mean"] == "low" and directions["f1/worst"] == "high" and directions["legacy_score"] == ""


def test_one_measure_alone_is_that_of_the_whole_and_counts_its_own_work() -> None:
    data, whole = ShiftedPictures(), result_of(("pictures", "unsupervised"))
    model = small("unsupervised", data, ObjectiveConfig(bound="paper", density="trace"))
    indices = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    for name, kind in registry.Guard().kinds().items():
        if not kind.needs <= available(model, data) or name == "calibration":  # it needs the alignment
            continue
        from ffrl.evaluation.protocol.sequences import choose

        indices, ticks = choose(data, "validation", 6, 0), []
        task = Task(model, data, "validation", 0, indices, 2, available(model, data))
        found = measured(task, lambda done, total, ticks=ticks: ticks.append((done, total)), [name])
        assert found == {key: whole[key] for key in kind.keys}
        assert ticks == [(n + 1, len(ticks)) for n in range(3 if name == "equivariance" else 1)]


CODE = '''
from ffrl.evaluation.protocol.measure import PREDICTIONS, Measure, Metric, Pass
from ffrl.tables.table import Column, Row, Table


class Darkness(Measure):
    """Share of black in the predicted frames."""

    keys, sees, units = ("darkness",), Pass.MIXED, {"darkness": "share"}

    def __init__(self, task):
        super().__init__(task)
        self.shares = []

    def see(self, seen):
        self.shares.append(1 - seen.predicted.flow.mean().item())

    def result(self, found):
        return {"darkness": {"share": sum(self.shares) / len(self.shares)}}

    @classmethod
    def tables(cls, results):
        cells = [results["darkness"]["share"]]
        return [Table("darkness", "Darkness of frames", "", [Column("black", digits=3)], [Row("all", cells)])]

    @classmethod
    def summary(cls, results):
        return "it is dark"

    @classmethod
    def criteria(cls, results):
        share = results["darkness"]["share"]
        return [{"name": "darkness", "worst": share, "at_most": 0.0, "reached": share <= 0}]

    @classmethod
    def numbers(cls, results):
        return {"darkness": results["darkness"]["share"]}

    @classmethod
    def metrics(cls, numbers):
        return [Metric(PREDICTIONS, "darkness", Column("darkness", "low", digits=3), "Darkness: of frames.")]
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install packages with measures, and read the entry points anew."""
    fresh = Registry("stf.measures", "measure", modules_in("ffrl.evaluation.measures", "MEASURE"))
    monkeypatch.setattr("ffrl.evaluation.registry.MEASURES", fresh)
    with installing(tmp_path, monkeypatch, "stf.measures") as add:
        yield add


def printed(result: dict[str, Any]) -> str:
    stream = io.StringIO()
    print_report(result, Console(file=stream, width=80))
    return stream.getvalue()


def drop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a file into the folder of measures, and read it anew."""
    (folder / "darkness.py").write_text(f"{CODE}\n\nMEASURE = Darkness\n")
    monkeypatch.setattr(measures, "__path__", [*measures.__path__, str(folder)])
    fresh = Registry("stf.measures", "measure", modules_in("ffrl.evaluation.measures", "MEASURE"))
    monkeypatch.setattr("ffrl.evaluation.registry.MEASURES", fresh)


@pytest.mark.parametrize("way", ["package", "file"])
def test_a_measure_of_one_file_is_everywhere(install, tmp_path: Path, monkeypatch, way: str) -> None:
    if way == "package":
        install("gloom", {"darkness": "gloom_module:Darkness"}, CODE)
    else:
        drop(tmp_path, monkeypatch)
        monkeypatch.delitem(sys.modules, "ffrl.evaluation.measures.darkness", raising=False)
    data = ShiftedPictures()
    result = evaluate(small("weak", data), data, sequences=6, samples=1)
    share = json.loads(json.dumps(result))["darkness"]["share"]
    assert 0 < share < 1 and result["units"]["darkness"] == "share" and "failed" not in result
    assert result["criteria"] == criteria_of(result) and result["criteria"][0]["name"] == "darkness"
    text = printed(result)
    assert "Darkness of frames" in text and f"{share:.3f}" in text and "darkness: it is dark" in text
    assert summaries_of(result)["darkness"] == "it is dark"
    (table,) = [table for table in evaluation_tables(result) if table.name == "darkness"]
    assert Page(to_html(table)).tables["table-darkness"] == [["", "black"], ["all", f"{share:.3f}"]]
    lines = [
        line_of(table1(), label, metrics=numbers_of(result) | {"darkness": value})
        for label, value in (("weak", share), ("vae", share / 2))
    ]
    shown = write_tables(table1(), lines, tmp_path)
    (further,) = [table for table in shown if table.title.startswith("Other predictions")]
    assert "| FFRL weak |" in (tmp_path / "table.md").read_text() and "Darkness: of frames." in further.notes
    place = [column.title for column in further.columns].index("darkness")
    best = {row.title: row.cells[place].best for row in further.rows}
    assert best == {"VAE": True, "FFRL weak": False}


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("super().__init__(task)", "raise OSError('no\\nroom')", "OSError: no room"),
        ("self.shares.append(", "raise KeyError('x'); (", "KeyError: 'x'"),
        ('return {"darkness": {"share"', 'return {"darkness": {2j', "keys must be"),
        ('return {"darkness": {"share"', 'return {"gloom": {"share"', "result: found ['gloom'], expected no keys but"),
        ('keys, sees, units = ("darkness",)', 'keys, sees, units = ("prediction",)', "keys: found 'prediction'"),
        ('keys, sees, units = ("darkness",)', 'keys, sees, units = "darkness"', "found keys 'darkness'"),
        ("class Darkness(Measure)", "class Darkness", "expected a class derived from Measure"),
        ("class Darkness(Measure)", "import nowhere\nclass Darkness(Measure)", "cannot be imported"),
        ('cells = [results["darkness"]["share"]]', "1 / 0", "ZeroDivisionError"),
        ("cells = [", "cells = [2, ", "ValueError: zip()"),
        ("Row(", "max(", "TypeError"),
        ('share = results["darkness"]["share"]', "1 / 0", "ZeroDivisionError"),
        ('"worst": share', '"worst": {share}', "TypeError"),
    ],
    ids="start see json keys taken text class import tables cells rows criteria worst".split(),
)
def test_a_measure_that_fails_is_one_line_and_leaves_the_rest(install, old: str, new: str, line: str) -> None:
    assert old in CODE
    install("gloom", {"darkness": "gloom_module:Darkness"}, CODE.replace(old, new))
    data = ShiftedPictures()
    result = evaluate(
        small("weak", data, ObjectiveConfig(bound="paper", density="trace")), data, sequences=6, samples=2
    )
    whole = result_of(("pictures", "weak"))
    assert {key: result[key] for key in whole if key != "units"} == {key: whole[key] for key in whole if key != "units"}
    text = " ".join(printed(result).split())
    assert "Measures that failed gloom: measure 'darkness'" in text and line in text
    assert all("\n" not in failure for failure in result.get("failed", {}).values())
    (table,) = [table for table in evaluation_tables(result) if table.name == "failed"]
    assert line in table.notes[0] and len(table.notes) == 1


@pytest.mark.parametrize("name", ["SINGLE", "IN_TURN"])
def test_a_measure_of_single_sequences_is_not_taken_where_there_are_none(install, name: str) -> None:
    install("gloom", {"darkness": "gloom_module:Darkness"}, CODE.replace("Pass.MIXED", f"Pass.{name}"))
    for data, taken in ((ShiftedPictures(), True), (UnknownPictures(), False)):
        result = evaluate(small("weak", data), data, sequences=6, samples=1)
        assert ("darkness" in result) is taken and "failed" not in result


def test_numbers_of_a_measure_that_fails_are_said_to_be_missing(install) -> None:
    wrong = CODE.replace('return {"darkness": results', 'return {"darkness": found')
    install("gloom", {"darkness": "gloom_module:Darkness"}, wrong)
    numbers = numbers_of(result_of(("pictures", "weak")) | {"darkness": {"share": 0.5}})
    assert numbers["failed/darkness"].startswith("gloom: measure 'darkness': NameError")
    assert "error/mean" in numbers and "darkness" not in numbers


def test_there_is_no_measure_of_another_name() -> None:
    data = ShiftedPictures()
    task = Task(small("weak", data), data, "validation", 0, torch.arange(2))
    with pytest.raises(UserError, match=r"^measures: found 'equivarance', .*did you mean equivariance\?\)$"):
        measured(task, names=["equivarance"])


def test_results_of_a_package_that_is_not_installed_are_passed_over() -> None:
    result = result_of(("pictures", "weak"))
    more = result | {"darkness": {"share": 0.5}}
    assert tables_of(more) == tables_of(result) and numbers_of(more) == numbers_of(result)


def test_a_failure_of_what_comes_with_the_project_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ShiftedPictures()
    monkeypatch.setattr(MEASURES["prediction"], "see", lambda self, seen: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(small("weak", data), data, sequences=6, samples=1)


def test_what_is_missing_is_said_by_the_title() -> None:
    table = Table("none", "Nothing to show", "", notes=["Why."])
    assert all("Nothing to show" in text and "Why." in text for text in written(table).values())
    assert "<table" not in to_html(table) and "tabular" not in to_latex(table)
    assert replace(table, notes=()) == Table("none", "Nothing to show", "")
