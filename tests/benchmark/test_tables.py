"""Tables: means and deviations, the best of a column, published figures, markup; numbers from hand-made lines."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from benchmark_tools import line_of, table1
from rich.console import Console

from ffrl.evaluation.matching import align
from ffrl.evaluation.measures.calibration import calibrate
from ffrl.evaluation.protocol.published import MNIST, TABLES, published
from ffrl.evaluation.protocol.statistics import leaves
from ffrl.evaluation.registry import numbers_of
from ffrl.tables.latex import to_latex
from ffrl.tables.markdown import to_markdown
from ffrl.tables.table import Cell, Column, Number, Row, Table, with_best
from ffrl.tables.terminal import in_width, print_table
from stf.benchmark.suites import SUITES
from stf.benchmark.tables.footer import footer
from stf.benchmark.tables.tables import spread, tables
from stf.benchmark.tables.writing import print_tables, write_tables

NAMES = ("scaling", "rotation", "hue")


def cell(grid: Table, row: str, title: str, block: str = "") -> str:
    """What is printed in a row and a column."""
    (place,) = (n for n, column in enumerate(grid.columns) if (column.title, column.block) == (title, block))
    (found,) = (one for one in grid.rows if one.title == row)
    return grid.texts(found)[place]


def is_best(grid: Table, row: str, title: str) -> bool:
    """Whether a number is bold."""
    (place,) = (n for n, column in enumerate(grid.columns) if column.title == title and not column.block)
    return _best(next(one for one in grid.rows if one.title == row).cells[place])


def _best(cell: Cell) -> bool:
    return isinstance(cell, Number) and cell.best


@pytest.fixture
def lines():
    """Three models of Table 1, two of them with seeds."""
    bounds = {"likelihood_of": "log p(frames), mixed sequences"}
    return [
        line_of(table1(), "vae", 0, (1000, 2000, 3000), metrics=bounds | {"iwae/gaussian-1": {"mean": -2300.0}}),
        line_of(table1(), "vae", 1, (1100, 2000, 3000), metrics=bounds | {"iwae/gaussian-1": {"mean": -2302.0}}),
        line_of(table1(), "unsupervised", 0, (250, 170, 315), metrics=bounds | {"iwae/gaussian-1": {"mean": -2250.0}}),
        line_of(table1(), "unsupervised", 1, (251, 171, 325), metrics=bounds | {"iwae/gaussian-1": {"mean": -2251.0}}),
        line_of(table1(), "unsupervised", 2, (252, 172, 320), metrics=bounds | {"iwae/gaussian-1": {"mean": -2252.0}}),
        line_of(table1(), "supervised", 0, (240, 180, 300), metrics=bounds | {"iwae/gaussian-1": {"mean": -2251.0}}),
        {"cell": "weak-mnist-seed0", "suite": "mnist-table1", "model": "weak", "status": "failed", "stage": "train"}
        | {"reason": "exit code 2: 50 % of a_b"},
    ]


def test_means_deviations_and_seeds(lines):
    grid = tables(table1(), lines)[0]
    assert [row.title for row in grid.rows] == ["VAE", "FFRL supervised", "STF"]
    assert cell(grid, "STF", "scaling") == "251.0 ± 1.0" and cell(grid, "STF", "hue") == "320.0 ± 5.0"
    assert cell(grid, "VAE", "scaling") == "1,050.0 ± 70.7", "the sample deviation of 1000 and 1100"
    assert cell(grid, "FFRL supervised", "scaling") == "240.0" and cell(grid, "FFRL supervised", "seeds") == "1"
    assert cell(grid, "VAE", "mean") == "2,016.7 ± 23.6"
    assert cell(grid, "STF", "told in training") == "nothing"
    assert cell(grid, "FFRL supervised", "told in training") == "which acts"


def test_the_best_of_each_column_is_marked_and_published_figures_never(lines):
    grid = tables(table1(), lines)[0]
    assert is_best(grid, "FFRL supervised", "scaling") and is_best(grid, "STF", "rotation")
    assert is_best(grid, "FFRL supervised", "hue") and not is_best(grid, "STF", "hue")
    assert not any(is_best(grid, "VAE", title) for title in (*NAMES, "mean", "IWAE"))
    assert is_best(grid, "STF", "IWAE") and is_best(grid, "FFRL supervised", "IWAE"), "both -2251.00"
    for row in grid.rows:
        published_cells = [one for one, column in zip(row.cells, grid.columns, strict=True) if column.block]
        assert not any(map(_best, published_cells))


def test_the_time_to_the_published_error_is_that_of_models_all_of_whose_seeds_reach_it(lines):
    def costs():
        return next(grid for grid in tables(table1(), lines) if grid.title == "Cost of training, MNIST")

    assert "s to published" not in [column.title for column in costs().columns]
    for line in lines[2:6]:
        line["curve"] = [
            {"step": n, "seconds": 10.0 * n + line["seed"], "error": dict.fromkeys((*NAMES, "further"), error)}
            for n, error in ((1, None), (2, 170.0), (3, 165.8), (4, 165.9))
        ]
        for point in line["curve"]:
            point["error"]["further"] = 9000.0
    lines[5]["curve"][2]["error"]["hue"] = 166.2
    assert cell(costs(), "STF", "s to published") == "31 ± 1"
    assert cell(costs(), "FFRL supervised", "s to published") == cell(costs(), "VAE", "s to published") == "–"
    assert any("165.84" in note for note in costs().notes)


def test_bounds_of_different_things_are_not_compared(lines):
    lines[-2]["metrics"]["likelihood_of"] = "log p(frames | transformation), single sequences"
    grid = tables(table1(), lines)[0]
    assert not any(is_best(grid, row.title, "IWAE") for row in grid.rows)
    assert any("single sequences: FFRL supervised" in note for note in grid.notes)


def test_published_figures_are_beside_their_method_with_their_protocol(lines):
    grid = tables(table1(), lines)[0]
    assert cell(grid, "VAE", "scaling", "published") == "1,275.31 ± 1.89"
    assert cell(grid, "FFRL supervised", "hue", "published") == "158.57 ± 2.95"
    assert cell(grid, "STF", "hue", "published") == "–"
    assert cell(grid, "FFRL supervised", "log p", "published") == "-2,112.45! ± 1.57", "above the bound"
    assert cell(grid, "VAE", "log p", "published") == "-2,206.17 ± 1.83"
    notes = " ".join(grid.notes)
    assert "poster, Table 1, 7-step sums" in notes and "! exceeds -2,161.34" in notes


def test_rendered_shapes3d_has_the_published_figures_apart():
    suite = SUITES["shapes3d-table2"]
    of = {"name": "shapes3d", "title": "rendered Shapes3D", "protocol": "ffrl", "num_steps": 7}
    line = line_of(suite, "vae", data="shapes3d", data_title="rendered Shapes3D", data_of=of)
    first, *_, last = tables(suite, [line])
    assert not any(column.block for column in first.columns)
    assert "do not compare with rendered Shapes3D" in last.title and "Table 2" in last.notes[0]
    assert cell(last, "PoFlow", "wall-hue") == "916.71 ± 10.49" and len(last.rows) == 8
    real = line_of(suite, "vae", data="shapes3d", data_title="Shapes3D", data_of=of | {"title": "Shapes3D"})
    first, *_, last = tables(suite, [real])
    assert [column.title for column in first.columns if column.block][-1] == "log p" and "Published" not in last.title


def test_every_published_table_has_its_rows():
    assert {name: len(table.rows) for name, table in TABLES.items()} == {
        "mnist": 8,
        "shapes3d": 8,
        "falcor3d": 3,
        "isaac3d": 3,
    }
    assert MNIST.row("SlowVAE").told == "weak" and MNIST.row("TVAE").errors["hue"] == (451.25, 2.76)
    assert TABLES["shapes3d"].row("β-VAE").log_likelihood == (-11924.83, 5.64)
    assert TABLES["isaac3d"].row("PoFlow").errors["object-color"] == (7056.98, None)
    assert TABLES["falcor3d"].row("ours, supervised").errors["camera-z"].mean == 6614.27
    assert all(list(row.errors) == list(table.rows[0].errors) for table in TABLES.values() for row in table.rows)
    assert published({"name": "falcor3d", "protocol": "ffrl", "title": "Falcor3D", "num_steps": 4}) is None


def test_every_table_ends_with_budget_seeds_machine_date_command_and_failures(lines, tmp_path):
    lines[0]["date"], lines[1]["benchmark"] = "2030-03-04T00:00:00+00:00", "stf benchmark mnist-table1 --seeds 1"
    for grid in write_tables(table1(), lines, tmp_path):
        budget, machine, date, failed = grid.notes[-4:]
        assert budget == "Budget: 3,600 steps per cell. Seeds: 0, 1, 2. Measured on 500 held-out images or clips."
        assert machine.startswith("Machine: CPU, 2 cores, 1 thread(s) per cell") and "torch 2" in machine
        assert date == (
            "Date: 2030-01-02 to 2030-03-04. Version: 0.1.0. "
            "Command: stf benchmark mnist-table1 --seeds 1; stf benchmark mnist-table1."
        )
        assert failed == "Failed: weak-mnist-seed0 (train: exit code 2: 50 % of a_b)."
        assert failed in to_markdown(grid)
    alike = lines + [lines[-1] | {"cell": "weak-mnist-seed1"}, lines[-1] | {"cell": "x", "reason": "signal 9"}]
    both = "Failed: weak-mnist-seed0, weak-mnist-seed1 (train: exit code 2: 50 % of a_b); x (train: signal 9)."
    assert footer(alike)[-1] == both
    budgeted = [line | {"budget": 60.0, "steps": steps} for line, steps in zip(lines[:2], (900, 1000), strict=True)]
    assert "60 s of training per cell, 900 to 1,000 steps" in footer(budgeted)[0]


def test_fields_and_codes_are_shown_where_they_were_measured(lines):
    found = {
        "share/worst": 0.99,
        "f1/worst": 0.98,
        "spikes_right": 0.995,
        "speed_r/worst": None,
        "further_field": 0.001,
    }
    lines[3]["metrics"] |= found
    lines[4]["metrics"] |= found
    lines[2]["metrics"] |= found | {"codes/mig/score": 0.5, "codes/dci/disentanglement": 0.25, "composition": 30.0}
    lines[5]["metrics"] |= {"extrapolation/mean": 40.0}
    titles = [grid.title for grid in tables(table1(), lines)]
    assert [title.partition(",")[0] for title in titles] == [
        "Equivariance error and likelihood",
        "Which field is which transformation",
        "Other predictions",
        "What codes tell of factors",
        "Cost of training",
    ]
    _, fields, further, codes, cost = tables(table1(), lines)
    assert [row.title for row in fields.rows] == ["STF"] and cell(fields, "STF", "worst share") == "0.990 ± 0.000"
    assert "worst speed r" not in [column.title for column in fields.columns]
    assert cell(further, "STF", "at once") == "30.0†" and cell(further, "FFRL supervised", "beyond T") == "40.0"
    assert cell(codes, "STF", "MIG") == "0.500†" and [row.title for row in codes.rows] == ["STF"]
    assert cell(cost, "VAE", "seconds") == "100 ± 1" and cell(cost, "VAE", "parameters") == "1,234,567"
    assert cell(cost, "VAE", "data") == "10.0 ± 0.0 %"


def test_how_the_future_is_predicted_is_said_once_per_way(lines):
    for line in lines[:5]:
        line["prediction"] = "a flow"
    (note,) = (note for note in tables(table1(), lines)[-1].notes if "predicted" in note)
    assert note == "Later frames are predicted by a flow: VAE, STF."


def test_variants_on_other_data_are_not_compared():
    suite = SUITES["ablations"]
    values = {"stf": (300, 0.9), "no-rotational": (400, 0.8), "active3": (200, 0.99)}
    lines = [line_of(suite, label, 0, (error,) * 3, metrics={"f1/worst": f1}) for label, (error, f1) in values.items()]
    (grid,) = tables(suite, lines)
    assert [row.title for row in grid.rows] == ["STF (K = 6, 1 active)", "without the rotational part", "3 active"]
    assert cell(grid, "3 active", "mean error") == "200.0" and not is_best(grid, "3 active", "mean error")
    assert is_best(grid, "STF (K = 6, 1 active)", "mean error") and is_best(grid, "STF (K = 6, 1 active)", "worst F1")
    assert any(note.endswith("not compared: 3 active.") for note in grid.notes)


def test_variants_are_compared_in_other_predictions_too():
    suite = SUITES["ablations"]
    lines = [
        line_of(suite, label, metrics={"composition": error, "switching": 50.0})
        for label, error in (("stf", 70.0), ("no-rotational", 90.0), ("active3", 60.0))
    ]
    _, grid = tables(suite, lines)
    assert grid.first == "variant" and cell(grid, "without the rotational part", "at once") == "90.0"
    assert is_best(grid, "STF (K = 6, 1 active)", "at once") and not is_best(grid, "3 active", "at once")
    assert grid.notes[-1].endswith("not compared: 3 active.")


def test_sample_efficiency_has_a_column_per_size():
    suite = SUITES["sample-efficiency"]
    lines = [line_of(suite, "vae", 0, (3 * n,) * 3, data=f"mnist-{n}") for n in (1000, 8000)]
    (grid,) = tables(suite, lines)
    assert [column.title for column in grid.columns] == ["1,000 images", "8,000 images"]
    assert cell(grid, "VAE", "8,000 images") == "24,000.0"
    lines.append(line_of(suite, "unsupervised", data="mnist-1000", metrics={"f1/worst": 0.97}))
    errors, spikes = tables(suite, lines)
    assert [row.title for row in errors.rows] == ["VAE", "STF"]
    assert [row.title for row in spikes.rows] == ["STF"], "the only model with spikes"


def test_a_mean_over_some_of_the_seeds_is_marked_said_and_not_compared():
    suite = SUITES["ablations"]
    both = [line_of(suite, "stf", seed, metrics={"speed_r/worst": 0.85 + seed / 100}) for seed in (0, 1)]
    once = [line_of(suite, "no-discovery", seed, metrics={"speed_r/worst": (0.95, None)[seed]}) for seed in (0, 1)]
    other = [line_of(suite, "midpoint", seed, metrics={"speed_r/worst": 0.5}) for seed in (0, 1)]
    (grid,) = tables(suite, [*both, *once, *other])
    assert cell(grid, "without the discovery", "worst speed r") == "0.950†"
    assert not is_best(grid, "without the discovery", "worst speed r")
    assert is_best(grid, "STF (K = 6, 1 active)", "worst speed r")
    assert grid.notes[-1].startswith("†: over the seeds that have a value")
    assert r"$0.950^\dagger$" in to_latex(grid) and r"$^\dagger$: over" in to_latex(grid)
    assert "†" not in "".join(tables(suite, both)[0].notes)


def test_one_number_is_not_the_best_and_missing_ones_do_not_count():
    columns = (Column("a", "low"), Column("b", "high"), Column("c"))
    rows = (Row("x", (1.0, None, 1.0)), Row("y", (float("nan"), 2.0, 2.0)), Row("z", (2.0, 3.0, 0.0)))
    marked = with_best(Table("", "", "", columns, rows))
    assert [[_best(one) for one in row.cells] for row in marked.rows] == [
        [True, False, False],
        [False, False, False],
        [False, True, False],
    ]
    alone = (Row("x", (1.0,)), Row("y", (None,)))
    assert not _best(with_best(Table("", "", "", columns[:1], alone)).rows[0].cells[0])
    assert spread([]) is None and spread([2.0]).spread is None
    assert spread([1.0, 2.0, 6.0]).spread == pytest.approx(7**0.5)


NASTY = Table(
    "nasty",
    "Errors_of 50 % & more",
    "model",
    (Column("x_1", "low", digits=1), Column("log p", block="published")),
    (
        Row("β-VAE #1", (Number(1234.5, 0.25, best=True), Number(-2112.45, 1.57, mark="!"))),
        Row("a|b \\ {c}", (None, "$~^")),
    ),
    ("100 % of a_b", "stf benchmark x --out 'a&b' ---"),
    "–",
)


def test_markdown_keeps_its_columns():
    lines = to_markdown(NASTY).splitlines()
    assert lines[0] == "### Errors_of 50 % & more"
    assert lines[2] == "| model | x_1 ↓ | published log p |"
    assert lines[4] == "| β-VAE #1 | **1,234.5** ± 0.2 | -2,112.45! ± 1.57 |"
    assert lines[5] == "| a\\|b \\\\ {c} | – | $~^ |"
    assert lines[-2:] == ["- 100 % of a_b", "- stf benchmark x --out 'a&b' ---"]


def test_latex_escapes_what_it_would_take_for_commands():
    text = to_latex(NASTY)
    assert r"\caption{Errors\_of 50 \% \& more}" in text
    assert r"$\beta$-VAE \#1 & $\mathbf{1{,}234.5} \pm 0.2$ & $-2{,}112.45! \pm 1.57$ \\" in text
    assert r"a\textbar{}b \textbackslash{} \{c\} & \textendash{} & \$\textasciitilde{}\textasciicircum{} \\" in text
    assert r"\multicolumn{1}{c}{published}" in text and r"\cmidrule(lr){3-3}" in text
    assert r"x -{}-out \textquotesingle{}a\&b\textquotesingle{} -{}-{}-\par" in text
    check_latex(text)


def check_latex(text: str) -> None:
    """Check that braces, environments and columns balance, and that only ASCII is left."""
    assert "--" not in text, "two hyphens are printed as one dash"
    assert text.isascii(), [sign for sign in text if not sign.isascii()]
    bare = re.sub(r"\\[\\{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert re.sub(r"\\\$", "", text).count("$") % 2 == 0
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert sorted(opened) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    for columns, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.S):
        for line in body.splitlines():
            if line.endswith(r"\\"):
                spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
                assert len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) - len(spans) == len(columns), line


def test_all_suites_give_latex_that_balances(lines, tmp_path):
    write_tables(table1(), lines, tmp_path)
    check_latex((tmp_path / "table.tex").read_text())
    for suite in SUITES.values():
        label, title = suite.data[0].label, "rendered Shapes3D" if "shapes3d" in suite.name else "MNIST"
        of = {"name": title.split()[-1].lower(), "title": title, "protocol": "ffrl", "num_steps": 7}
        made = [line_of(suite, model.label, data=label, data_of=of, data_title=title) for model in suite.models]
        write_tables(suite, made, tmp_path)
        check_latex((tmp_path / "table.tex").read_text())
        assert (tmp_path / "table.md").read_text().count("\n| ") >= 2 + len(suite.models)


def test_a_terminal_shows_all_columns_in_parts_as_wide_as_it_is(lines):
    grid = tables(table1(), lines)[0]
    assert [column for part in in_width(grid, 80) for column in part.columns] == list(grid.columns)
    assert len(in_width(grid, 1000)) == 1
    stream = io.StringIO()
    print_table(grid, Console(file=stream, width=80))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert "1,275.31 ± 1.89" in text and "1,050.0 ± 70.7" in text
    stream = io.StringIO()
    print_tables(table1(), lines, Console(file=stream, width=120))
    assert stream.getvalue().count("Budget:") == 1
    print_tables(table1(), [], Console(file=stream, width=120))
    assert stream.getvalue().endswith("No cell is finished.\n")


def test_metrics_of_an_evaluation():
    def error(mean):
        return {"seven_step_sum": {"mean": mean, "standard_error": 1.0}}

    kinds = {"flow": error(10.0), "reconstruction": error(5.0), "copy": error(50.0)}
    fields = [{"field": 3, "mean": 0.5, "silent": False}, {"field": 4, "mean": 0.1, "silent": False}]
    one = {"share": 0.9, "f1": 0.8, "speed_correlation": 0.7}
    found = numbers_of(
        {
            "equivariance": {"scaling": kinds, "hue": kinds | {"flow": error(20.0)}},
            "likelihood": {
                "quantity": "log p(frames)",
                "sequences": "mixed",
                "likelihoods": {"gaussian-1": {"elbo": {"mean": -3.0}, "iwae": {"mean": -2.0}, "upper_bound": -1.0}},
                "legacy_score": {"mean": -1.5, "standard_error": 0.5, "note": "x"},
            },
            "alignment": {
                "transformations": {"scaling": one, "hue": one | {"f1": 0.5, "share": None}},
                "unmatched": fields,
                "spikes_right": 0.95,
            },
            "confusion": {"accuracy": 0.75},
            "extrapolation": {
                "transformations": {
                    "scaling": {
                        "flow": {"l1": {"further_mean": {"mean": 4.0}}, "mse": {"further_mean": {"mean": 0.1}}}
                    },
                    "hue": None,
                }
            },
            "composition": {"mean": {"flow": {"mean_per_frame": {"mean": 7.0}}}},
            "switching": {"mean": None},
            "codes": {"mig": {"score": 0.3}, "method": {"dci": "text"}},
        }
    )
    assert found["error/mean"] == 15.0 and found["reconstruction/mean"] == 5.0 and found["copy/hue"]["mean"] == 50.0
    assert found["iwae/gaussian-1"] == {"mean": -2.0} and found["upper_bound/gaussian-1"] == -1.0
    assert found["legacy_score"] == {"mean": -1.5, "standard_error": 0.5}
    assert found["likelihood_of"] == "log p(frames), mixed sequences" and found["confusion_accuracy"] == 0.75
    assert (found["f1/worst"], found["share/worst"], found["further_field"]) == (0.5, None, 0.5)
    assert found["speed_r/hue"] == 0.7 and found["spikes_right"] == 0.95
    assert found["extrapolation/mean"] == 4.0 and found["extrapolation_mse/mean"] == 0.1
    assert found["composition"] == {"mean": 7.0} and "switching" not in found
    assert found["codes/mig/score"] == 0.3 and "codes/method/dci" not in found
    assert numbers_of({}) == {} and leaves(True, "x") == {}
    assert not any(key.startswith(("speed_rmse", "ece", "fields_alive")) for key in found), "of older evaluations"


def test_metrics_of_speeds_and_calibration():
    truth = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    speeds = truth + [0.5, 0.25] * (truth != 0)
    alignment = align(speeds, truth, ["scaling", "hue"])
    calibration = calibrate(0.1 + 0.8 * (truth != 0), speeds, 0.3 + 0 * truth, truth, alignment)
    found = numbers_of({"alignment": alignment, "calibration": calibration})
    assert (found["speed_rmse/scaling"], found["speed_rmse/hue"], found["speed_rmse/worst"]) == (0.5, 0.25, 0.5)
    assert found["ece"] == found["ece/hue"] == pytest.approx(0.1) and found["fields_alive"] == 2
    assert (found["coverage/one_deviation"], found["coverage/two_deviations"]) == (0.5, 1.0)
    never = numbers_of({"alignment": align(speeds * [1, 0], truth, ["scaling", "hue"])})
    assert never["speed_rmse/worst"] is None and never["fields_alive"] == 1 and "ece" not in never


def test_short_sequences_have_the_sum_over_all_their_steps():
    one = {"seven_step_sum": None, "full_sum": {"mean": 3.0, "standard_error": None}}
    found = numbers_of({"equivariance": {"hue": {"flow": one}}, "data": {"num_steps": 4}})
    assert found == {"error_steps": 4, "error/hue": one["full_sum"], "error/mean": 3.0}
