"""The cache of prepared frames: right pixels, decoded once, whole or not there, and told from other files."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from recording_tools import by_hand, flat, moving, save_animation, save_pictures, save_video, settings

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.data.recordings import cache as frame_cache
from ffrl.data.recordings import prepare as preparing
from ffrl.data.recordings.cache import as_it_is, cache_file, cache_folder, fitted, frames_hash, prepare, prepared
from ffrl.data.recordings.clips import ClipSequences
from ffrl.data.recordings.find import BrokenRecording, open_recording
from ffrl.data.recordings.prepare import prepare_recordings


def config(folder: Path, **others: Any) -> ClipsConfig:
    return ClipsConfig(**{"size": 10, "cache": folder / "cache"} | others)


def frames_in(path: Path, clips: ClipsConfig) -> np.ndarray:
    """All prepared frames of a recording."""
    found = prepared(path, clips) or as_it_is(path, clips)
    assert found is not None
    numbers = np.arange(found.parts)[:, None] * found.where.layout.frames + np.arange(found.length) * found.stride
    return np.array(found.read(found.open(), numbers))


@pytest.mark.parametrize("shape", [(20, 28), (28, 20), (21, 31), (10, 10), (40, 30)])
def test_the_middle_is_cut_out_and_averaged(shape: tuple[int, int]) -> None:
    frame = moving(1, *shape)[0]
    height, width = shape
    side = min(shape)
    top, left = (height - side) // 2, (width - side) // 2
    cut = Image.fromarray(frame[top : top + side, left : left + side])
    found = fitted(frame, 10, 10, "center")
    assert found.shape == (3, 10, 10)
    if side % 10 == 0:
        assert np.abs(found.astype(int) - by_hand(frame[None], 10)[0]).max() <= 1
    assert np.array_equal(found, np.asarray(cut.resize((10, 10), Image.Resampling.BOX)).transpose(2, 0, 1))


def test_without_a_crop_everything_is_kept() -> None:
    frame = np.zeros((20, 60, 3), np.uint8)
    frame[:, :6] = 200  # the first tenth
    assert np.array_equal(fitted(frame, 10, 10, "none")[:, :, 0], np.full((3, 10), 200))
    assert fitted(frame, 10, 10, "none")[:, :, 1:].max() == 0
    assert fitted(frame, 10, 10, "center").max() == 0


def test_small_frames_are_enlarged_smoothly() -> None:
    frame = np.repeat(np.arange(0, 250, 50, dtype=np.uint8), 15).reshape(5, 5, 3).transpose(1, 0, 2)
    row = fitted(frame, 10, 10, "center")[0, 0].astype(int)
    assert (np.diff(row) > 0).sum() >= 8 and row[0] <= 10 and row[-1] >= 190


def test_frames_of_every_kind_come_out_the_same(tmp_path: Path) -> None:
    frames = (moving(9) > 127).astype(np.uint8) * 255
    np.save(tmp_path / "a.npy", frames)
    np.savez_compressed(tmp_path / "b.npz", frames.transpose(0, 3, 1, 2))
    save_animation(tmp_path / "c.gif", frames)
    save_pictures(tmp_path / "d", frames)
    np.save(tmp_path / "e.npy", by_hand(frames, 10).astype(np.float32) / 255)
    np.save(tmp_path / "f.npy", by_hand(frames, 10))
    np.save(tmp_path / "g.npy", by_hand(frames, 10).transpose(0, 2, 3, 1))
    clips, paths = config(tmp_path, stride=2), sorted(tmp_path.iterdir())
    maps, *_, skipped = prepare_recordings(paths, clips, 3)
    assert list(maps) == paths and not skipped
    for path in paths:
        found = frames_in(path, clips)
        assert found.shape == (1, 5, 3, 10, 10) and found.dtype == np.uint8
        assert np.abs(found[0].astype(int) - by_hand(frames, 10, 2)).max() <= 1, path
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 5, "arrays of bytes of the right size need no cache"


def test_the_cache_holds_bytes_in_the_npy_format(tmp_path: Path) -> None:
    frames = moving(12).reshape(3, 4, 20, 28, 3)
    np.savez(tmp_path / "a.npz", frames)
    prepare_recordings([tmp_path / "a.npz"], config(tmp_path), 3)
    (file,) = (tmp_path / "cache").glob("*.npy")
    assert file.name.startswith("a-") and file.stat().st_size == 128 + 12 * 3 * 10 * 10
    array = np.load(file, allow_pickle=False)
    assert array.shape == (3, 4, 3, 10, 10) and array.dtype == np.uint8
    assert np.abs(array.reshape(12, 3, 10, 10).astype(int) - by_hand(moving(12), 10)).max() <= 1


def test_what_is_prepared_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_video(tmp_path / "a.mp4", flat([(n * 20, 0, 0) for n in range(10)]))
    save_pictures(tmp_path / "b", moving(8))
    paths, clips, opened = [tmp_path / "a.mp4", tmp_path / "b"], config(tmp_path), []
    real = preparing.open_recording
    monkeypatch.setattr(preparing, "open_recording", lambda path, *a, **b: opened.append(path) or real(path, *a, **b))
    first = prepare_recordings(paths, clips, 3)
    assert opened == paths
    again = prepare_recordings(paths, clips, 3)
    assert opened == paths and again.maps == first.maps
    prepare_recordings(paths, replace(clips, stride=2), 3)
    prepare_recordings(paths, replace(clips, size=12), 3)
    prepare_recordings(paths, replace(clips, crop="none"), 3)
    assert opened == paths * 4
    Image.fromarray(moving(1, seed=5)[0]).save(tmp_path / "b" / "3.png")
    prepare_recordings(paths, clips, 3)
    assert opened[8:] == [tmp_path / "b"], "a recording that was changed is decoded again, the others are not"
    assert np.abs(frames_in(tmp_path / "b", clips)[0, 3] - by_hand(moving(1, seed=5), 10)[0].astype(int)).max() <= 1


class Interrupted(BaseException):
    """What ends a process."""


def test_an_interrupted_preparation_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, clips = [tmp_path / name for name in "abc"], config(tmp_path)
    for path in paths:
        save_pictures(path, moving(6))
    real, calls = frame_cache.fitted, []

    def until(last: int) -> Any:
        def call(*arguments: Any) -> np.ndarray:
            calls.append(1)
            if len(calls) > last:
                raise Interrupted
            return real(*arguments)

        return call

    monkeypatch.setattr(frame_cache, "fitted", until(9))
    with pytest.raises(Interrupted):
        prepare_recordings(paths, clips, 3)
    assert [file.name[0] for file in (tmp_path / "cache").glob("*.npy")] == ["a"], "nothing is left half-written"
    calls.clear()
    monkeypatch.setattr(frame_cache, "fitted", until(99))
    assert list(prepare_recordings(paths, clips, 3).maps) == paths
    assert len(calls) == 12, "the first recording is not decoded again"


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    save_pictures(tmp_path / "a", moving(6))
    (tmp_path / "cache").mkdir()
    old, new = tmp_path / "cache" / ".tmp-1-a.npy", tmp_path / "cache" / ".tmp-2-a.npy"
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    prepare_recordings([tmp_path / "a"], config(tmp_path), 3)
    assert new.exists() and not old.exists()


def test_two_processes_at_once_do_not_spoil_each_other(tmp_path: Path) -> None:
    save_pictures(tmp_path / "a", moving(6))
    clips = config(tmp_path)
    one, two = (prepare(open_recording(tmp_path / "a"), clips) for _ in range(2))
    for _ in range(5):
        assert next(one) and next(two)
    assert prepared(tmp_path / "a", clips) is None
    assert list(one) == [6]
    mapped = prepared(tmp_path / "a", clips).open()  # type: ignore[union-attr]
    assert list(two) == [6]
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1
    assert np.array_equal(mapped, frames_in(tmp_path / "a", clips)[0])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data + b"more",
        lambda data: b"",
        lambda data: b"\x93NUMPY" + bytes(200),
        lambda data: data.replace(b"(1, 6, 3", b"(1, 5, 3"),
        lambda data: data.replace(b"(1, 6, 3, 10, 10)", b"(1, 6, 1, 30, 10)"),
        lambda data: data.replace(b"|u1", b"|i1"),
    ],
)
def test_a_damaged_file_is_noticed_and_made_again(tmp_path: Path, spoil: Any) -> None:
    save_pictures(tmp_path / "a", moving(6))
    clips = config(tmp_path)
    prepare_recordings([tmp_path / "a"], clips, 3)
    file = cache_file(tmp_path / "a", clips)
    content = file.read_bytes()
    file.write_bytes(spoil(content))
    assert file.read_bytes() != content and prepared(tmp_path / "a", clips) is None
    prepare_recordings([tmp_path / "a"], clips, 3)
    assert file.read_bytes() == content


def test_a_cache_that_cannot_be_written_is_one_line_and_never_skipped(tmp_path: Path) -> None:
    save_pictures(tmp_path / "a", moving(6))
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as error:
        prepare_recordings([tmp_path / "a"], config(tmp_path, cache=tmp_path / "file", broken="skip"), 3)
    line = str(error.value)
    assert line.startswith(f"data.sequences.cache: found {tmp_path / 'file'}, which cannot be written (")
    assert "\n" not in line and not isinstance(error.value, BrokenRecording)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    save_pictures(tmp_path / "a", moving(6))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"^data\.sequences\.cache: .*No space left on device.*enough space$"):
        prepare_recordings([tmp_path / "a"], config(tmp_path), 3)
    assert list((tmp_path / "cache").glob("*.npy")) == []


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(ClipsConfig()) == tmp_path / "xdg" / "stf"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder(ClipsConfig()) == tmp_path / ".cache" / "stf"


def test_progress_is_said_in_plain_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffrl.core.progress.PLAIN_SECONDS", 0.0)
    for name in ("a", "b"):
        save_pictures(tmp_path / name, np.repeat(moving(4, 300, 300), 2, axis=1))
    total = sum(file.stat().st_size for file in tmp_path.rglob("*.png")) / 2**20
    prepare_recordings([tmp_path / "a", tmp_path / "b"], config(tmp_path), 3)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert not out and lines[0] == f"preparing 2 recordings: {total:.1f} MiB"
    shares = [float(line.split()[3]) / total for line in lines[1:-1]]
    assert np.allclose(shares, [0.125, 0.25, 0.375, 0.5, 0.5, 0.625, 0.75, 0.875, 1, 1, 1], atol=0.05)
    assert lines[-1] == f"prepared frames are kept in {tmp_path / 'cache'}"
    prepare_recordings([tmp_path / "a", tmp_path / "b"], config(tmp_path), 3)
    assert capsys.readouterr().err == "", "nothing to prepare, nothing to say"


def resident() -> int:
    """Bytes of this process that are in memory and not backed by a file."""
    with open("/proc/self/statm") as file:
        _, everything, shared = map(int, file.read().split()[:3])
    return (everything - shared) * os.sysconf("SC_PAGE_SIZE")


def test_frames_are_read_and_prepared_without_taking_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count, size = 5_000, 64
    (tmp_path / "big").mkdir()
    for name in ("a", "b"):  # 61 MB each, without taking room on the disk
        np.lib.format.open_memmap(tmp_path / "big" / f"{name}.npy", "w+", np.uint8, (count, size, size, 3)).flush()

    def wide(path: Path, stride: int, how: ClipsConfig) -> Iterator[np.ndarray]:
        return (np.full((4, 4, 3), number % 256, np.uint8) for number in range(count))

    (tmp_path / "big" / "c.mp4").touch()
    monkeypatch.setattr("ffrl.data.recordings.find.video_frames", wide)
    monkeypatch.setattr("ffrl.data.recordings.find.video_length", lambda *_: None)
    before = resident()
    data = ClipSequences(settings(tmp_path / "big", size=size))
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        data.mixed("train", torch.randint(data.size("train"), (8,), generator=generator), generator)
    assert f"3 recordings with {3 * count:,} frames" in data.about
    assert resident() - before < 40e6


def test_a_large_array_is_hashed_without_staying_in_memory(tmp_path: Path) -> None:
    file, config = tmp_path / "a.npy", ClipsConfig(size=64, cache=tmp_path / "cache")
    np.lib.format.open_memmap(file, "w+", np.uint8, (10_000, 64, 64, 3))[::100] = 7  # 123 MB
    frames = as_it_is(file, config)
    assert frames is not None
    code = "import sys, ffrl.data.recordings.clips; from pathlib import Path; from ffrl.config import ClipsConfig\n"
    code += "from ffrl.data.recordings.cache import as_it_is, frames_hash\n"
    code += "file, config = Path(sys.argv[1]), ClipsConfig(size=64, cache=Path(sys.argv[2]))\n"
    code += "frames = as_it_is(file, config)\n"
    code += "high = lambda: int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])\n"
    code += "before = high(); print(frames_hash(file, config, frames)); print(high() - before)"
    given = [sys.executable, "-c", code, str(file), str(config.cache)]
    found, grown = subprocess.run(given, capture_output=True, text=True, check=True).stdout.split()
    assert int(grown) < 60e3  # kB
    start = f"1 {frames.where.layout}\n".encode()
    assert found == hashlib.sha256(start + np.load(file).tobytes()).hexdigest()


def test_an_array_that_becomes_shorter_is_one_line(tmp_path: Path) -> None:
    file, config = tmp_path / "a.npy", ClipsConfig(size=8, cache=tmp_path / "cache")
    np.save(file, np.zeros((9, 8, 8, 3), np.uint8))
    frames = as_it_is(file, config)
    assert frames is not None
    with open(file, "r+b") as opened:
        opened.truncate(1000)
    with pytest.raises(UserError, match="a.npy: found a file that has become shorter, expected 856 bytes more"):
        frames_hash(file, config, frames)
