"""All figures of a run with what is said about them, and its report."""

from __future__ import annotations

from stf.report.all_figures import figures
from stf.report.build import draw
from stf.report.html import render_report

__all__ = ["draw", "figures", "render_report"]
