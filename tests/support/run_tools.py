"""Whether two runs are the same, and what things cost."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine_tiny import timeless

from ffrl.storage.names import METRICS
from ffrl.training.checkpoint import checkpoints, find_checkpoint
from ffrl.training.log import read_metrics


def assert_same_run(reference: Path, resumed: Path) -> None:
    """Same checkpoints bit for bit, and the same metrics except for timings."""
    assert list(checkpoints(reference))[-1] == list(checkpoints(resumed))[-1]
    a, b = find_checkpoint(reference), find_checkpoint(resumed)
    for name in ("model.safetensors", "training_state.safetensors"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    assert timeless(read_metrics(reference / METRICS)) == timeless(read_metrics(resumed / METRICS))


@contextmanager
def within(most: int) -> Iterator[None]:
    """Assert that Python takes no more memory inside the context than so many bytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
