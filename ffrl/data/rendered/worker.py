"""A process that renders: numbers come in by standard input, images go out by standard output, until the input ends.

Messages have their length before them as four bytes. The first one that goes out is empty, or says why nothing can be
rendered here. After that come float64 numbers, image after image, for which bytes ``(n, 3, size, size)`` go out.
"""

from __future__ import annotations

import struct
import sys
from typing import IO

import numpy as np

from ffrl.core.errors import UserError, reason_of
from ffrl.data.rendered.stage import Stage

LENGTH = struct.Struct("<I")


def send(out: IO[bytes], message: bytes) -> None:
    """Write a message."""
    out.write(LENGTH.pack(len(message)) + message)
    out.flush()


def receive(source: IO[bytes]) -> bytes | None:
    """Read a message; None at the end, even where it ends within a message.

    Example:
        >>> import io
        >>> stream = io.BytesIO()
        >>> send(stream, b"abc")
        >>> _ = stream.seek(0)
        >>> receive(stream), receive(stream)
        (b'abc', None)
    """
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    message = source.read(length)
    return message if len(message) == length else None


def main(scene: str, size: int) -> None:
    """Serve until the input ends."""
    source, out = sys.stdin.buffer, sys.stdout.buffer
    try:
        stage = Stage(scene, size)
    except UserError as error:
        return send(out, str(error).encode())
    except Exception as error:  # what MuJoCo raises is its own affair; the process that asked tells the user
        return send(out, f"data.name: found MuJoCo failing ({reason_of(error)}), expected it to render".encode())
    send(out, b"")
    while (message := receive(source)) is not None:
        numbers = np.frombuffer(message, np.float64).reshape(-1, stage.numbers)
        send(out, np.stack([stage.draw(row) for row in numbers]).tobytes())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
