"""Batches of the training steps: what each mode sees, reading ahead without any difference, and data elsewhere."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch
from engine_tiny import TinyData, TinyModel, run_tiny, tiny_config

from ffrl.config import DataConfig, StillConfig
from ffrl.core.errors import UserError
from ffrl.core.seed import epoch_indices, generator
from ffrl.data.base import SequenceBatch
from ffrl.data.on_device import MovedSequences, on_device, where_made
from ffrl.training.batch import AHEAD, ALONE, Feed, draw_frames

CPU = torch.device("cpu")


class FromFiles(TinyData):
    """Tiny data that are streamed; it notes the thread and the first index of every batch."""

    streamed = True

    def __init__(self, broken_after: int | None = None) -> None:
        super().__init__()
        self.read: list[tuple[str, int]] = []
        self.broken_after = broken_after
        self.full = threading.Event()

    def mixed(self, split: str, indices: torch.Tensor, generator: torch.Generator) -> SequenceBatch:
        if split == "train":
            self.read.append((threading.current_thread().name, int(indices[0])))
            if len(self.read) == AHEAD + 1:
                self.full.set()
            if self.broken_after is not None and len(self.read) > self.broken_after:
                raise UserError("frame 7: found nothing, expected a picture")
        return super().mixed(split, indices, generator)


class Unlabelled(TinyData):
    """Tiny data whose transformations are not known."""

    transformations, unit_steps = (), ()

    def single(self, *arguments: object) -> SequenceBatch:
        raise AssertionError("asked for a transformation that is not known")

    def mixed(self, split: str, indices: torch.Tensor, generator: torch.Generator) -> SequenceBatch:
        batch = super().mixed(split, indices, generator)
        return SequenceBatch(batch.frames, batch.activity[..., :0])


def taken(data: TinyData, steps: list[int], workers: int = 2) -> list[torch.Tensor]:
    config = tiny_config(data=DataConfig(workers=workers))
    with Feed(config, TinyModel(), data, CPU) as feed:
        return [torch.cat([batch.frames.flatten(1), batch.noise.latent], 1) for batch in map(feed, steps)]


def test_reading_ahead_changes_no_batch_and_happens_in_another_thread():
    ahead, here, known = FromFiles(), FromFiles(), TinyData()
    steps = list(range(30))
    batches = taken(ahead, steps)
    assert all(torch.equal(a, b) for a, b in zip(batches, taken(here, steps, workers=0), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(batches, taken(known, steps), strict=True))
    assert [index for _, index in ahead.read] == [index for _, index in here.read] and len(ahead.read) == 30
    assert {name.split("_")[0] for name, _ in ahead.read} == {"feed"}
    assert {name for name, _ in here.read} == {threading.current_thread().name}


@pytest.mark.parametrize("data", [TinyData, FromFiles])
def test_other_images_stand_alone_beside_sequences(data: type[TinyData]) -> None:
    config = tiny_config(still=StillConfig(fraction=0.5, frames=2, beside=0.3))
    model = TinyModel()
    plain, last = model.phase, config.steps - 1
    model.phase = lambda progress: replace(plain(progress), still=progress < 0.5)
    with Feed(config, model, data(), CPU) as feed:
        assert feed(config.steps // 2 - 1).alone is None, "all frames do"
        batch = feed(last)
        frames, noise, activity, beneath = batch.alone
        assert frames.shape == (config.batch_size, 2, 1, 2, 2) and activity is None and beneath is None
        assert noise.latent.shape == batch.noise.latent.shape and not torch.equal(noise.latent, batch.noise.latent)
        assert torch.equal(frames, feed(last).alone.frames)
        indices = epoch_indices(20, config.batch_size, config.steps + last, config.seed, CPU)
        expected = TinyData().stills("train", indices, 2, generator(CPU, config.seed, ALONE, last))
        assert torch.equal(frames, expected)
    with Feed(replace(config, still=replace(config.still, beside=0.0)), model, data(), CPU) as feed:
        assert feed(last).alone is None


def test_a_resumed_feed_starts_anywhere_and_may_jump():
    batches = taken(TinyData(), list(range(12)))
    resumed = taken(FromFiles(), [7, 8, 3, 4, 11])
    assert all(torch.equal(batches[step], batch) for step, batch in zip([7, 8, 3, 4, 11], resumed, strict=True))


def test_the_following_batches_are_read_before_they_are_asked_for():
    data = FromFiles()
    with Feed(tiny_config(), TinyModel(), data, CPU) as feed:
        feed(0)
        assert data.full.wait(timeout=10)
        assert len(data.read) == AHEAD + 1
        feed(1)
    assert len(data.read) <= AHEAD + 2


def test_nothing_is_read_beyond_the_phase_in_progress():
    data, config = FromFiles(), tiny_config(still=StillConfig(fraction=0.5, beside=0.0))
    with Feed(config, TinyModel(), data, CPU) as feed:
        feed(config.steps // 2 - 1)
    assert len(data.read) == 1


def test_nothing_is_read_beyond_the_last_step():
    data = FromFiles()
    taken(data, list(range(28, 30)))
    assert len(data.read) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_reader_finds_broken_ends_the_run_in_one_line(tmp_path, workers):
    config = tiny_config(data=DataConfig(workers=workers))
    with pytest.raises(UserError, match="^frame 7: found nothing, expected a picture$"):
        run_tiny(tmp_path / "run", config, data=FromFiles(broken_after=9))
    assert not any(thread.name.startswith("feed") for thread in threading.enumerate())


def test_the_share_of_time_for_data_is_measured(tmp_path):
    slow = run_tiny(tmp_path / "slow", tiny_config(), data=TinyData(pause=0.02))
    fast = run_tiny(tmp_path / "fast", tiny_config(), data=TinyData())
    assert 0.02 * 30 / slow.seconds * 0.9 < slow.data_share < 1
    assert 0 < fast.data_share < slow.data_share


@pytest.mark.parametrize("mode", ["weak", "unsupervised"])
def test_unknown_transformations_are_trained_on_as_they_are(mode):
    config, indices = tiny_config(mode), torch.arange(4)
    frames, activity = draw_frames(config, Unlabelled(), "train", indices, TinyModel().phase(0.9), 3)
    same, _ = draw_frames(tiny_config("unsupervised"), TinyData(), "train", indices, TinyModel().phase(0.9), 3)
    assert torch.equal(frames, same) and activity is None


def test_moved_sequences_are_those_they_move():
    inner = FromFiles()
    data = MovedSequences(inner, CPU)
    assert (data.name, data.title, data.streamed, data.transformations) == (
        "tiny",
        "tiny images",
        True,
        inner.transformations,
    )
    assert where_made(data) is inner and where_made(inner) is inner
    indices, source = torch.arange(5), torch.Generator().manual_seed(4)
    batch, same = data.mixed("train", indices, source), inner.mixed("train", indices, torch.Generator().manual_seed(4))
    assert torch.equal(batch.frames, same.frames) and torch.equal(batch.activity, same.activity)
    assert torch.equal(data.images("validation", indices), inner.images("validation", indices))
    single, which = data.single("train", indices, torch.tensor([0, 1, 2, 0, 1])), torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(single.frames, inner.single("train", indices, which).frames)
    stills = data.stills("train", indices, 2, torch.Generator().manual_seed(4))
    assert torch.equal(stills, same.frames[:, [0, 4]]) and data.size("validation") == 9


def test_data_that_are_elsewhere_are_moved():
    data = TinyData()
    assert on_device(data, "cpu") is data
    moved = on_device(data, "meta")
    assert moved.device.type == "meta" and moved.images("train", torch.arange(3)).device.type == "meta"
