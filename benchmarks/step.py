"""Time and memory of one optimisation step: this project against the same model written down plainly.

Run ``python benchmarks/step.py``; see README.md beside this file for what is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
from pathlib import Path

from measure import Case, Result, in_own_process, machine
from rich.console import Console
from rich.table import Table

console = Console(width=None if os.isatty(1) else 110)


def milliseconds(seconds: float) -> str:
    """Seconds in words, three digits."""
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def mebibytes(count: float) -> str:
    """Bytes in words."""
    return f"{count / 2**20:,.0f} MiB"


def run(case: Case, threads: int) -> Result:
    """Measure one case, saying so."""
    with console.status(f"{case.kind}, {case.bound}, B={case.batch} D={case.dim} T={case.steps} K={case.fields}"):
        return in_own_process(case, threads)


def numbers(result: Result) -> dict:
    """A result with its medians, for JSON."""
    return dataclasses.asdict(result) | {"wall": result.wall, "cpu": result.cpu}


def compare(base: Case, naive_budget: float, threads: int) -> list[dict]:
    """A supervised step of ours and of the plain model, bound by bound."""
    title = f"Supervised step at B={base.batch}, D={base.dim}, T={base.steps}, K={base.fields}"
    table = Table(
        title=title, caption="memory: highest resident, in brackets what the steps added to the model at rest"
    )
    for column in ("bound", "model", "wall", "CPU", "repeats", "memory", "CPU ratio", "memory ratio"):
        table.add_column(column, justify="left" if column in ("bound", "model") else "right")
    rows = []
    for bound in ("strict", "paper-trace", "paper-exact"):
        ours = run(dataclasses.replace(base, bound=bound), threads)
        plain = run(dataclasses.replace(base, kind="naive", bound=bound, budget=naive_budget), threads)
        added = [result.peak_bytes - result.resting_bytes for result in (ours, plain)]
        ratios = {
            "wall": plain.wall / ours.wall,
            "cpu": plain.cpu / ours.cpu,
            "added_memory": added[1] / max(added[0], 1),
        }
        for name, result, extra in (("ours", ours, added[0]), ("plain", plain, added[1])):
            repeats = f"{len(result.seconds)}" + ("" if result.warmed_up else " (cold)")
            memory = f"{mebibytes(result.peak_bytes)} ({mebibytes(extra)})"
            shown = [f"{ratios['cpu']:.1f}", f"{ratios['added_memory']:.1f}"] if name == "plain" else ["1", "1"]
            table.add_row(bound, name, milliseconds(result.wall), milliseconds(result.cpu), repeats, memory, *shown)
            rows.append({"bound": bound, "model": name} | numbers(result))
        rows[-1]["ratios"] = ratios
        table.add_section()
    console.print(table)
    return rows


def scale(base: Case, threads: int) -> list[dict]:
    """Step time of the unsupervised model as B, D, T and K double, one at a time; it grows like size^exponent."""
    doubled = {"base": base} | {
        f"{symbol} x 2": dataclasses.replace(base, **{name: 2 * getattr(base, name)})
        for symbol, name in (("B", "batch"), ("D", "dim"), ("T", "steps"), ("K", "fields"))
    }
    size = f"B={base.batch}, D={base.dim}, T={base.steps}, K={base.fields}"
    caption = "CPU time; in brackets the exponent of its growth. Memory: highest resident"
    table = Table(title=f"Unsupervised step from {size}", caption=caption)
    bounds = ("strict", "paper-trace", "paper-exact")
    for column in ("", *bounds, "memory, strict"):
        table.add_column(column, justify="right" if column else "left")
    rows, first = [], {}
    for name, case in doubled.items():
        cells, results = [], {}
        for bound in bounds:
            result = results[bound] = run(dataclasses.replace(case, bound=bound), threads)
            exponent = math.log2(result.cpu / first.setdefault(bound, result.cpu))
            cells.append(milliseconds(result.cpu) + ("" if name == "base" else f" ({exponent:.2f})"))
            rows.append({"case": name, "bound": bound, "exponent": exponent} | numbers(result))
        table.add_row(name, *cells, mebibytes(results["strict"].peak_bytes))
    console.print(table)
    return rows


def main() -> None:
    """Run all measurements and print them; write them as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number to FILE")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--threads", type=int, default=1, help="computing threads (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, digits and noise (default 0)")
    parser.add_argument("--only", choices=("comparison", "scaling"), help="one of the two tables (default both)")
    parser.add_argument("--naive-budget", type=float, default=240.0, help="seconds to spend on each plain variant")
    flags = parser.parse_args()

    about = machine(flags.threads)
    memory = mebibytes(about["memory_bytes"])
    console.print(f"{about['cpu']}, {about['cores']} cores, {memory}; {flags.threads} thread(s), {about['precision']}")
    console.print(f"torch {about['torch']}, Python {about['python']}, seed {flags.seed}")
    if flags.quick:
        published = Case("ours", batch=8, dim=12, steps=2, budget=2.0, most=5, seed=flags.seed)
        default = Case("unsupervised", batch=8, dim=8, steps=2, fields=2, budget=2.0, most=5, seed=flags.seed)
    else:
        published = Case("ours", seed=flags.seed)
        default = Case("unsupervised", batch=64, dim=48, steps=8, fields=6, budget=20.0, most=15, seed=flags.seed)
    naive_budget = min(flags.naive_budget, 5.0) if flags.quick else flags.naive_budget
    report = {"machine": about, "seed": flags.seed}
    if flags.only != "scaling":
        rows = compare(published, naive_budget, flags.threads)
        report["comparison"] = {"case": dataclasses.asdict(published), "rows": rows}
    if flags.only != "comparison":
        report["scaling"] = {"case": dataclasses.asdict(default), "rows": scale(default, flags.threads)}
    if flags.json:
        partial = flags.json.with_name(flags.json.name + ".partial")
        partial.write_text(json.dumps(report, indent=2) + "\n")
        partial.replace(flags.json)


if __name__ == "__main__":
    main()
