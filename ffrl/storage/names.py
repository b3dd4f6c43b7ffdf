"""Names of the files of a run folder."""

from __future__ import annotations

CONFIG = "config.json"
"""The configuration, of the run and of each checkpoint."""
DESCRIPTION = "run.json"
"""What the run knows of its data."""
ENVIRONMENT = "environment.json"
"""What it ran on."""
METRICS = "metrics.jsonl"
"""What its training logged."""
EVALUATION = "evaluation.json"
"""What ``stf evaluate --json`` measured, where the report looks for it."""
