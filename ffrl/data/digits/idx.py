"""Reader of idx files, the format of MNIST: a big-endian header and unsigned bytes, gzip-compressed or not."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, cast

import numpy as np

from ffrl.core.errors import UserError
from ffrl.core.reading import read_at_most

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

IMAGE_SIZE = (28, 28)
MOST_BYTES = 2**30
"""Values of the largest file that is read."""
AGAIN = "; stf data fetch fetches it again once it is removed"


class Digits(NamedTuple):
    """Images ``(N, 28, 28)`` uint8 and their labels ``(N,)`` uint8."""

    images: np.ndarray
    labels: np.ndarray


def read_idx(file: Path | Traversable, rank: int) -> np.ndarray:
    """Return the uint8 array of ``rank`` dimensions stored in an idx file, decompressed if its name ends in ``.gz``.

    The header is the magic number 0x00000800 + rank and one big-endian 32-bit size per dimension; the values follow,
    last dimension fastest.

    Raises:
        UserError: if the file is missing, unreadable, damaged, no idx file of that rank, or of the wrong length.

    Example:
        >>> from ffrl.data.digits.assets import asset
        >>> read_idx(asset("mnist-10k-images-idx3-ubyte.gz"), rank=3).shape
        (10000, 28, 28)
    """
    header = 4 * (1 + rank)
    with _opened(file) as stream:
        start = stream.read(header)
        if len(start) < header:
            raise UserError(f"{file}: found {len(start)} bytes, expected an idx header of {header} bytes{AGAIN}")
        magic, *sizes = (int(value) for value in np.frombuffer(start, dtype=">u4"))
        if magic != 0x0800 + rank:
            wanted = f"0x{0x0800 + rank:08x} (idx, unsigned bytes, rank {rank})"
            raise UserError(f"{file}: found magic number 0x{magic:08x}, expected {wanted}")
        expected = math.prod(sizes)
        if expected > MOST_BYTES:
            raise UserError(f"{file}: found sizes {tuple(sizes)}, expected at most {MOST_BYTES:,} bytes")
        content = read_at_most(stream, expected + 1)
    if len(content) != expected:
        found = f"{len(content)}" if len(content) < expected else f"more than {expected}"
        raise UserError(
            f"{file}: found {found} bytes of values, expected {expected} for its sizes {tuple(sizes)}{AGAIN}"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(sizes).copy()


def read_digits(images_file: Path | Traversable, labels_file: Path | Traversable) -> Digits:
    """Return the digits of an images file and a labels file, which must agree.

    Raises:
        UserError: as :func:`read_idx`, and if the images are not 28 x 28 or the numbers of images and labels differ.

    Example:
        >>> from ffrl.data.digits.assets import asset
        >>> digits = read_digits(asset("mnist-10k-images-idx3-ubyte.gz"), asset("mnist-10k-labels-idx1-ubyte.gz"))
        >>> digits.images.shape, digits.labels.shape
        ((10000, 28, 28), (10000,))
    """
    images = read_idx(images_file, rank=3)
    if images.shape[1:] != IMAGE_SIZE:
        height, width = images.shape[1:]
        raise UserError(f"{images_file}: found images of {height} x {width} pixels, expected 28 x 28")
    labels = read_idx(labels_file, rank=1)
    if len(labels) != len(images):
        raise UserError(
            f"{labels_file}: found {len(labels)} labels, expected {len(images)}, one for each image of {images_file}"
        )
    return Digits(images, labels)


@contextmanager
def _opened(file: Path | Traversable) -> Iterator[IO[bytes]]:
    """The values of a file, decompressed as they are read."""
    try:
        with file.open("rb") as stream:
            if not file.name.endswith(".gz"):
                yield stream
                return
            with gzip.GzipFile(fileobj=stream) as unzipped:
                yield cast(IO[bytes], unzipped)
    except FileNotFoundError as error:
        raise UserError(f"{file}: found no such file, expected an idx file") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"{file}: found damaged gzip data ({error}), expected a gzip-compressed idx file{AGAIN}"
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{file}: found a file that cannot be read ({reason}), expected an idx file") from error
