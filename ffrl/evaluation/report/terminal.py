"""The result of an evaluation on a terminal of 80 columns or more."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from ffrl.core.terminal import printable
from ffrl.evaluation.registry import summaries_of, tables_of
from ffrl.tables.terminal import print_notes, print_table


def print_report(result: dict[str, Any], console: Console) -> None:
    """Print everything that :func:`ffrl.evaluation.evaluate.evaluate` found, and at the end each of it in one line.

    Example:
        >>> from ffrl.config import DataConfig, SupervisedConfig
        >>> from ffrl.data import load
        >>> from ffrl.evaluation.evaluate import evaluate
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28))
        >>> print_report(evaluate(model, load(DataConfig()), sequences=2, samples=2), Console(quiet=True))
    """
    model, data = result["model"], result["data"]
    console.print(
        f"{model['mode']} model, {model['num_fields']} fields, {model['parameters']:,} parameters, on "
        f"{printable(str(data.get('title', data['name'])))} {result['split']}: {result['sequences']} "
        f"{'images' if data.get('prescribed', data['transformations']) else 'clips'}, T = {data['num_steps']}, "
        f"seed {result['seed']}. ± is the standard error over sequences.",
        markup=False,
        highlight=False,
    )
    predicted = [f"prediction of later frames: {model['prediction']}"] if "prediction" in model else []
    print_notes([*([data["about"]] if "about" in data else []), *predicted], console)
    for table in tables_of(result):
        print_table(table, console)
    if "likelihood" not in result:
        console.print(Text(f"no likelihood: {model['mode']} is no probabilistic model"))
    console.print("In short", style="bold")
    for name, line in summaries_of(result).items():
        console.print(Text(printable(f"  {name}: {line}")))
