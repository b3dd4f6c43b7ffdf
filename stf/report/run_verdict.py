"""The verdict on a run folder, and how a terminal shows it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from stf.plot.compute.search_log import read_search
from stf.report.verdict import Circumstances, Verdict, verdict

if TYPE_CHECKING:
    from stf.run import Run


def verdict_of(run: Run, evaluation: Mapping[str, Any]) -> Verdict:
    """The verdict on a run.

    Args:
        run: open, at the checkpoint that was measured.
        evaluation: what was measured of it.
    """
    model, spec = run.model, run.spec
    discovery = getattr(run.config, "discovery", None)
    circumstances = Circumstances(
        path=os.fspath(run.path),
        step=run.step,
        steps=run.config.steps,
        seed=run.config.seed,
        usual=run.usual_steps,
        has_fields=run.has_fields,
        searched=run.has_fields and not model.activity_kind.given,
        search=read_search([entry for entry in run.metrics if entry["step"] <= run.step]),
        accept=None if discovery is None else (discovery.accept, discovery.accept_longer),
        unit_steps={
            name: step for name, step in zip(spec.transformations, spec.unit_steps, strict=False) if step != "1"
        },
    )
    return verdict(evaluation, circumstances)


def print_verdict(said: Verdict, console: Console) -> None:
    """Print a verdict, its titles in bold.

    Example:
        >>> print_verdict(Verdict(("Nothing.",), (), ("Train.",)), Console(width=40))
        What was found
          Nothing.
        What to do next
          Train.
    """
    for title, sentences in said.parts.items():
        if sentences:
            console.print(title, style="bold", markup=False, highlight=False)
        for sentence in sentences:
            console.print(f"  {sentence}", markup=False, highlight=False)
