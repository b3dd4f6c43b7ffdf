"""What every table ends with: budget, seeds, machine, date, command, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def footer(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sentences under a table.

    Args:
        lines: of its cells, done and failed.

    Example:
        >>> footer([])
        ['No cell is finished.']
    """
    done = [line for line in lines if line.get("status") == "done"]
    failures = _failures(line for line in lines if line.get("status") == "failed")
    if not done:
        return ["No cell is finished.", *failures]
    commands = "; ".join(dict.fromkeys(str(line["benchmark"]) for line in sorted(done, key=lambda line: line["date"])))
    machines = [line["machine"] for line in done]
    sequences = span(line["sequences"] for line in done)
    dates, versions = span(line["date"][:10] for line in done), _list(line["version"] for line in done)
    notes = [
        f"Budget: {_budget(done)}. Seeds: {_list(line['seed'] for line in done)}. Measured on {sequences} held-out "
        "images or clips.",
        f"Machine: {_list(_machine(one) for one in machines)}.",
        f"Date: {dates}. Version: {versions}. Command: {commands}.",
    ]
    return [*notes, *failures]


def _failures(failed: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which cells failed and why, those that failed alike together."""
    reasons: dict[str, list[str]] = {}
    for line in failed:
        reasons.setdefault(f"{line['stage']}: {line['reason']}", []).append(line["cell"])
    listed = "; ".join(f"{', '.join(cells)} ({reason})" for reason, cells in reasons.items())
    return [f"Failed: {listed}."] if listed else []


def _budget(done: Sequence[Mapping[str, Any]]) -> str:
    steps = span(line["steps"] for line in done)
    seconds = {line["budget"] for line in done} - {None}
    if seconds:
        return f"{_list(f'{one:g}' for one in seconds)} s of training per cell, {steps} steps as a timed trial allowed"
    return f"{steps} steps per cell"


def _machine(one: Mapping[str, Any]) -> str:
    device = "" if one["device"] == "cpu" else f" with {one['device']}"
    return (
        f"{one['processor']}, {one['cores']} cores{device}, {one['threads']} thread(s) per cell, {one['at_a_time']} "
        f"cell(s) at a time, torch {one['torch']}, {one['precision']}"
    )


def _list(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in sorted(values)))


def span(values: Iterable[Any]) -> str:
    """Return the least and the largest of some values, in words.

    Example:
        >>> span([1500, 900]), span(["2026-11-22"])
        ('900 to 1,500', '2026-11-22')
    """
    values = sorted(values)
    low, high = (f"{one:,}" if isinstance(one, int) else str(one) for one in (values[0], values[-1]))
    return low if low == high else f"{low} to {high}"
