"""Images of a scene, rendered by processes of their own and kept in a cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffrl.core.errors import UserError
from ffrl.core.files import replacing, reporting
from ffrl.core.progress import progress
from ffrl.data.rendered import stage, worker
from ffrl.storage.cache import caching, make_cache, one_at_a_time, remove_abandoned, whole_bytes, write_byte_header

KEY = "data.rendered.cache"
FORMAT = 1
"""Version of how images are drawn and kept; it is part of the names, so another version is never read."""
CHUNK = 32
"""Images that a process renders at a time."""


class Renderer:
    """Processes that render a scene, started when they are needed.

    Args:
        scene: one of :data:`ffrl.data.rendered.stage.SCENES`.
        size: pixels of a side.
        workers: most processes at a time.
    """

    def __init__(self, scene: str, size: int, workers: int) -> None:
        self.scene, self.size, self.workers = scene, size, max(1, workers)
        self._idle: list[subprocess.Popen[bytes]] = []

    def images(self, numbers: NDArray[np.float64]) -> Iterator[NDArray[np.uint8]]:
        """Render the images of ``numbers (N, F)``, in order, in chunks ``(n, 3, size, size)``.

        Raises:
            UserError: MuJoCo or its GL library is missing, or it fails.
        """
        chunks = [numbers[start : start + CHUNK] for start in range(0, len(numbers), CHUNK)]
        pool = ThreadPoolExecutor(max(1, min(self.workers, len(chunks))), "stf-render")
        try:
            yield from pool.map(self._render, chunks)
        finally:
            pool.shutdown(cancel_futures=True)  # after an error, or Ctrl-C, no more is begun

    def _render(self, numbers: NDArray[np.float64]) -> NDArray[np.uint8]:
        process = self._idle.pop() if self._idle else self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            worker.send(process.stdin, np.ascontiguousarray(numbers, np.float64).tobytes())
            answer = worker.receive(process.stdout)
        except OSError:  # it has ended
            answer = None
        if answer is None:
            process.kill()
            code = process.wait()
            raise UserError(f"data.name: found MuJoCo ending with exit code {code}, expected it to render")
        self._idle.append(process)
        return np.frombuffer(answer, np.uint8).reshape(len(numbers), 3, self.size, self.size)

    def _start(self) -> subprocess.Popen[bytes]:
        """Start a process; it ends when its input does, and so with this one, and not by Ctrl-C."""
        command = [sys.executable, "-P", "-m", worker.__name__, self.scene, str(self.size)]
        paths = os.pathsep.join(path for path in sys.path if path)
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": paths},
            start_new_session=True,
        )
        assert process.stdout is not None
        message = worker.receive(process.stdout)
        if message is None:
            raise UserError(f"data.name: found MuJoCo ending with exit code {process.wait()}, expected it to render")
        if message:
            process.wait()
            raise UserError(message.decode())
        return process

    def close(self) -> None:
        """End the processes."""
        for process in self._idle:
            process.communicate()
        self._idle.clear()


class FrameCache:
    """Images of a scene, each array of them rendered once and kept in a file.

    A file's name holds a hash of the numbers, of the size and of the code of the scene, so that a file with this name
    has what would be rendered now.

    Args:
        renderer: what renders.
        folder: where files are kept.
    """

    def __init__(self, renderer: Renderer, folder: Path) -> None:
        self.renderer, self.folder = renderer, folder

    def file(self, numbers: NDArray[np.float64]) -> Path:
        """Return where the images of ``numbers (N, F)`` belong."""
        drawing = [import_module(f"{stage.__package__}.{name}") for name in (self.renderer.scene, "colours")]
        digest = hashlib.sha256(f"{FORMAT} {stage.FINER} {self.renderer.size} {numbers.shape}\n".encode())
        for module in drawing:
            digest.update(Path(str(module.__file__)).read_bytes())
        digest.update(np.ascontiguousarray(numbers, np.float64).tobytes())
        return self.folder / f"{self.renderer.scene}-{self.renderer.size}-{digest.hexdigest()[:24]}.npy"

    def images(self, numbers: NDArray[np.float64], label: str | None = None) -> NDArray[np.uint8]:
        """Return the images of ``numbers (N, F)``, mapped into memory: ``(N, 3, size, size)``.

        Args:
            numbers: of the scene.
            label: what is rendered, for the line that tells of progress; none for few images.

        Raises:
            UserError: they cannot be rendered, or the cache cannot be written.
        """
        size = self.renderer.size
        file, shape = self.file(numbers), (len(numbers), 3, size, size)
        if self._there(file, shape) is None:
            with caching(self.folder, KEY):
                make_cache(self.folder)
                remove_abandoned(self.folder)
                with one_at_a_time(file):
                    if self._there(file, shape) is None:  # another process may have been quicker
                        self._render(file, numbers, shape, label)
        offset = self._there(file, shape)
        if offset is None:
            raise UserError(f"{file}: found a file that changed while it was read, expected {shape} bytes")
        with reporting("read", file):
            return np.memmap(file, np.uint8, "r", offset, shape)

    def _there(self, file: Path, shape: tuple[int, ...]) -> int | None:
        found = whole_bytes(file)
        return found[1] if found is not None and found[0] == shape else None

    def _render(self, file: Path, numbers: NDArray[Any], shape: tuple[int, ...], label: str | None) -> None:
        need, free = int(np.prod(shape)), shutil.disk_usage(self.folder).free
        if need > free:
            found, expected = f"{free / 2**30:,.1f} GiB free in {self.folder}", f"{need / 2**30:,.1f} GiB"
            raise UserError(f"{KEY}: found {found}, expected {expected} for the images")
        with replacing(file) as out:
            write_byte_header(out, shape)
            with nullcontext(lambda count: None) if label is None else progress(label, need) as advance:
                for chunk in self.renderer.images(numbers):
                    out.write(chunk.data)
                    advance(chunk.nbytes)
