"""A fuzzer of every reader: mutated files are read or refused in one line, and nothing else ever happens.

Run as a script, as ``make fuzz`` does, it goes on for so many seconds and prints counts by format.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import redirect_stderr
from itertools import cycle
from pathlib import Path

from fuzz_format import Format, check_message
from fuzz_mutation import mutated
from fuzz_recordings import RECORDINGS
from fuzz_runs import RUNS, trained
from fuzz_watch import MOST_SECONDS, Forbidden, watched
from hypothesis import HealthCheck, Phase, given, seed, settings

from ffrl.core.errors import UserError

ALL = RUNS | RECORDINGS
FORMATS = {name: form for name, form in ALL.items() if not form.needs or importlib.util.find_spec(form.needs)}
HANGING = 15 * MOST_SECONDS
"""Seconds after which a process that does nothing is ended."""
SEVERAL = 200
"""Files of a format, divided by its cost, that are read before it is the turn of the next one."""


def options(examples: int, shrink: bool) -> settings:
    """How many files are made, the same every time if failures are made smaller."""
    return settings(
        max_examples=examples,
        derandomize=shrink,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
    )


def outcome(form: Format, path: Path, folder: Path) -> str:
    """What comes of a file: ``read`` or ``refused``.

    Raises:
        Forbidden: it took too long or too much, or did what no file may do.
        Exception: something else than one line came of it.
    """
    with watched(folder), redirect_stderr(io.StringIO()):
        try:
            form.read(path)
        except UserError as error:
            check_message(error, path)
            return "refused"
    return "read"


def fuzz(name: str, examples: int) -> Counter[str]:
    """Read so many mutated files of a format, the same ones every time, and count what was read and what refused.

    Raises:
        AssertionError: something else than one line came of a file.
    """
    form, counts = FORMATS[name], Counter[str]()
    with tempfile.TemporaryDirectory(prefix="stf-fuzz-") as folder:
        path = form.make(Path(folder))
        good = path.read_bytes()
        form.read(path)

        @options(examples, shrink=True)
        @given(mutated(good, form.shape))
        def one(content: bytes) -> None:
            path.write_bytes(content)
            counts[outcome(form, path, Path(folder))] += 1

        one()
    return counts


def some(name: str, number: int, until: float, folder: Path, found: Path) -> Counter[str]:
    """Read files of a format, others for every number; those that fail are kept, one of each kind, with what was said.

    Args:
        name: of the format.
        number: seed.
        until: time at which to stop.
        folder: empty; the last file stays in it.
        found: for files that fail.
    """
    form, counts = FORMATS[name], Counter[str]()
    with redirect_stderr(io.StringIO()):
        path = form.make(folder)
        good = path.read_bytes()
        form.read(path)

    @seed(number)
    @options(SEVERAL // form.cost, shrink=False)
    @given(mutated(good, form.shape))
    def one(content: bytes) -> None:
        if time.time() > until:
            return
        path.write_bytes(content)
        faulthandler.dump_traceback_later(HANGING, exit=True)
        try:
            counts[outcome(form, path, folder)] += 1
        except (Exception, Forbidden) as error:  # any at all is a failure, which is kept while the others go on
            counts["failed"] += 1
            keep(found, name, path, kind_of(error), traceback.format_exc())
        finally:
            faulthandler.cancel_dump_traceback_later()

    one()
    return counts


def kind_of(error: BaseException) -> str:
    """Type of an error and where it was raised; of what is forbidden, what it is."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    said = str(error)[:20] if isinstance(error, Forbidden) else f"{Path(place.filename).name}-{place.name}"
    return f"{type(error).__name__}-{said}"


def keep(found: Path, name: str, path: Path, kind: str, text: str) -> None:
    """Keep a file that failed and what was said, unless there is one of the kind; and say so."""
    place = found / "".join(sign if sign.isalnum() else "-" for sign in f"{name}-{kind}")
    if not place.exists():
        place.mkdir(parents=True)
        shutil.copy(path, place)
        (place / "error.txt").write_text(text)
        print(f"{name}: failed, see {place}", file=sys.stderr, flush=True)


def apart(name: str, number: int, until: float, found: Path) -> Counter[str]:
    """:func:`some` in a process of its own, whose end is a failure if it is not its own."""
    with tempfile.TemporaryDirectory(prefix="stf-fuzz-") as folder:
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ours)
            status = 1
            try:
                os.write(theirs, json.dumps(some(name, number, until, Path(folder), found)).encode())
                status = 0
            except BaseException as error:  # its notes hold the whole file
                print(f"{name}, seed {number}: {kind_of(error)}: {error!s:.300}", file=sys.stderr)
            finally:
                os._exit(status)
        os.close(theirs)
        with open(ours, "rb") as pipe:
            said = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return Counter(json.loads(said))
        why = signal.Signals(-code).name if code < 0 else f"exit {code}"
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        if files:
            keep(found, name, max(files, key=lambda path: path.stat().st_mtime), why, f"seed {number}: {why}\n")
        return Counter(failed=1)


def endless(seconds: float) -> int:
    """Go round all formats for so many seconds, print the counts by format, and return the exit code."""
    until, total, number = time.time() + seconds, {name: Counter[str]() for name in FORMATS}, int(time.time()) % 10**6
    found = Path(tempfile.mkdtemp(prefix="stf-fuzz-found-"))
    print(f"first seed {number}; left out: {', '.join(ALL.keys() - FORMATS.keys()) or 'nothing'}", flush=True)
    trained()
    for name in cycle(FORMATS):
        if time.time() > until:
            break
        total[name] += apart(name, number, until, found)
        number += name == next(reversed(FORMATS))
    width = max(map(len, FORMATS))
    kinds = ("read", "refused", "failed")
    total["all"] = sum(total.values(), Counter())
    for name, counts in total.items():
        print(f"{name:<{width}}  " + "  ".join(f"{counts[kind]:>7,} {kind}" for kind in kinds))
    shutil.rmtree(trained().parent)
    return 1 if total["all"]["failed"] else 0


if __name__ == "__main__":
    sys.exit(endless(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))
