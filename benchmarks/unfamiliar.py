"""Every command of ``stf`` under the conditions of unfamiliar machines, as a table in Markdown.

Run ``python benchmarks/unfamiliar.py`` on Linux; a read-only machine needs the rights to mount (``unshare -m``).
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

MAIN = "stf.cli.main"
TINY = (
    "--mode=weak --steps=6 --batch-size=4 --device=cpu --model.latent-dim=4 --model.width=8 --model.depth=1 "
    "--model.potential-width=4 --model.num-fields=3 --discovery.sequences=32 --discovery.held-out=16"
)
COMMANDS = {
    "train": f"train {TINY} --out=new",
    "train, sequences": f"train {TINY} --data.name=sequences --data.root=clips --data.sequences.size=16 --out=own",
    "evaluate": "evaluate run --sequences=8 --json=out.json",
    "visualize-fields": "visualize-fields run --motion=none --out=drawn",
    "data": "data --out=shown",
    "transfer": "transfer run --out=moved",
    "verify": "verify run",
    "benchmark": "benchmark smoke --only=vae --out=suite",
}
READS = "--inh-caps +dac_read_search --ambient-caps +dac_read_search"
"""Rights of a user who may read everything, and write only what is everyone's."""
STYLE = "text.usetex: True\nbackend: Qt5Agg\nfont.family: Nowhere\nsavefig.format: pdf\nsavefig.dpi: 7\n"
STYLE += "figure.figsize: 1, 1\naxes.unicode_minus: False\nfigure.constrained_layout.use: True\n"


@dataclass(frozen=True)
class Machine:
    """What is different.

    Args:
        what: in words.
        change: of the environment; None removes a variable.
        shell: what a shell does before.
        readonly: whether nothing but the folder of work can be written.
        flags: further ones of training.
    """

    what: str
    change: dict[str, str | None] = field(default_factory=dict)
    shell: str = ""
    readonly: bool = False
    flags: str = ""


MACHINES = {
    "usual": Machine("a usual machine"),
    "files": Machine("256 open files", shell="ulimit -n 256"),
    "workers": Machine("64 open files, 16 workers", shell="ulimit -n 64", flags="--data.workers=16"),
    "memory": Machine("1.5 GB of address space", shell="ulimit -v 1500000"),
    "homeless": Machine(
        "no `HOME`, a user without a name",
        {"HOME": None, "USER": None, "LOGNAME": None},
        f"exec setpriv --reuid 12345 --regid 12345 --clear-groups {READS}",
    ),
    "home": Machine("`HOME` that cannot be written", {"HOME": "/proc/none"}),
    "readonly": Machine("read-only but for the run folder", {"HOME": "/root", "TMPDIR": None}, readonly=True),
    "locale": Machine("C locale, ASCII", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "gbk": Machine("console in GBK", {"PYTHONIOENCODING": "gbk"}),
    "backend": Machine("`MPLBACKEND` of a notebook", {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}),
    "style": Machine("a `matplotlibrc` with TeX, Qt and others", {"MATPLOTLIBRC": "matplotlibrc"}),
    "temporary": Machine("`TMPDIR` that is not there", {"TMPDIR": "/proc/none"}),
}


def ended(machine: Machine, command: str, folder: Path) -> str:
    """Run a command, and say how it ended: fine, in one line, or worse."""
    environment = {key: value for key, value in os.environ.items() if key not in machine.change}
    environment |= {key: value for key, value in machine.change.items() if value is not None}
    environment |= {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", MAIN, *command.split(), *(machine.flags.split() if "train" in command else ())]
    line = shlex.join(words)
    before = machine.shell
    if before.startswith("exec "):
        line, before = f"{before} {line}", ""
    elif before:
        line = f"{before}; exec {line}"
    if machine.readonly:
        here = shlex.quote(str(folder))
        held = f"mount --bind {here} {here} && mount -o remount,ro,bind / && cd {here} && {line}"
        words = ["unshare", "-m", "sh", "-c", held]
    else:
        words = ["sh", "-c", line]
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, stdin=subprocess.DEVNULL, start_new_session=True
    )
    said = (done.stdout + done.stderr).decode(errors="replace")
    if "Traceback" in said:
        return f"**traceback**: {said.strip().splitlines()[-1]}"
    if done.returncode == 0:
        return "works"
    lines = [text for text in done.stderr.decode(errors="replace").splitlines() if text.startswith("stf: error: ")]
    return lines[0].removeprefix("stf: ") if len(lines) == 1 else f"**exit {done.returncode}**: {said.strip()[-300:]!r}"


def prepare(folder: Path) -> None:
    """Write a trained run, 300 recordings and a style that is in the way."""
    command = [sys.executable, "-m", MAIN, *f"train {TINY} --out=run".split()]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    (folder / "clips").mkdir()
    source = np.random.default_rng(0)
    for number in range(300):
        np.save(folder / "clips" / f"{number}.npy", source.integers(0, 255, (12, 16, 16, 3), dtype=np.uint8))
    (folder / "matplotlibrc").write_text(STYLE)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=MACHINES, default=list(MACHINES), help="which machines")
    parser.add_argument("--commands", nargs="*", choices=COMMANDS, default=list(COMMANDS), help="which commands")
    given = parser.parse_args(arguments)
    print(f"| | {' | '.join(given.commands)} |\n|{'---|' * (len(given.commands) + 1)}")
    for key in given.only:
        with tempfile.TemporaryDirectory(prefix="work-") as name:
            prepare(Path(name))
            cells = [ended(MACHINES[key], COMMANDS[command], Path(name)) for command in given.commands]
        print(f"| {MACHINES[key].what} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
