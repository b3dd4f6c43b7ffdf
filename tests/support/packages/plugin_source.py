"""The source of a package of one file that adds to STF, built into a wheel and installed without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from cli_tools import ROOT

HEAD = '''\
"""Bars that move, and more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

'''
DATA = '''
from ffrl.data.base import SequenceBatch, SequenceData
from ffrl.data.catalogue import DataSet

SIZES = {"train": 48, "validation": 16, "test": 16}


class Bars(SequenceData):
    """A bright bar on a dark ring of pixels, that moves to the right or changes its brightness."""

    name, title = "bars", "Bars"
    image_shape, transformations, unit_steps = (1, 8, 8), ("right", "brighter"), ("1 pixel", "0.1")

    def __init__(self, config, device="cpu"):
        self.num_steps, self.device = config.num_steps, torch.device(device)

    def size(self, split):
        return SIZES[split]

    def images(self, split, indices):
        return self.shown(indices, torch.zeros(len(indices), 1, 2))[:, 0]

    def single(self, split, indices, which, generator=None):
        return self.batch(indices, torch.nn.functional.one_hot(which, 2).float()[:, None].repeat(1, self.num_steps, 1))

    def mixed(self, split, indices, generator):
        shape = (len(indices), self.num_steps, 2)
        return self.batch(indices, (torch.rand(shape, generator=generator, device=self.device) < 0.4).float())

    def batch(self, indices, activity):
        states = torch.cat([torch.zeros_like(activity[:, :1]), activity.cumsum(1)], 1)
        return SequenceBatch(self.shown(indices, states), activity)

    def shown(self, indices, states):
        place = (indices[:, None] + states[..., 0])[..., None] - torch.arange(8.0, device=self.device)
        bar = torch.exp(-4 * torch.sin(torch.pi * place / 8) ** 2)
        bright = (0.3 + 0.1 * states[..., 1])[..., None].clamp(max=1)
        return (bright * bar)[:, :, None, None, :].repeat(1, 1, 1, 8, 1)


BARS = DataSet("stf_trial:Bars", (1, 8, 8), ("right", "brighter"), 4)
'''
MODE = '''
from ffrl.config import RunConfig
from ffrl.models.mode import Mode
from ffrl.models.supervised import flow_with_given_activity


@dataclass(frozen=True)
class HastyConfig(RunConfig):
    """Hasty: supervised, in a few steps."""

    sequences = "labelled"
    needs_transformations = True
    mode: Literal["hasty"] = "hasty"
    steps: int = 4
    haste: float = 2.0
    """How hasty it is."""


HASTY = Mode(HastyConfig, flow_with_given_activity)
'''
FIELDS = '''

class Turn(torch.nn.Module):
    """K linear fields."""

    def __init__(self, size):
        super().__init__()
        self.matrix = torch.nn.Parameter(0.1 * torch.randn(size.num_fields, size.latent_dim, size.latent_dim))

    def forward(self, z):
        return torch.einsum("kde,...e->...kd", self.matrix, z)
'''
MEASURE = '''
from ffrl.evaluation.protocol.measure import Measure, Pass


class Brightness(Measure):
    """How bright predicted frames are."""

    keys, sees = ("brightness",), Pass.MIXED

    def __init__(self, task):
        super().__init__(task)
        self.means = []

    def see(self, seen):
        self.means.append(seen.predicted.flow.mean().item())

    def result(self, found):
        return {"brightness": sum(self.means) / len(self.means)}

    @classmethod
    def summary(cls, results):
        return f"frames are {results['brightness']:.3f} bright"
'''


class Part(NamedTuple):
    """What a package adds: an entry point, and its source."""

    group: str
    entry: str
    source: str


PARTS = (
    Part("stf.data", "bars = stf_trial:BARS", DATA),
    Part("stf.models", "hasty = stf_trial:HASTY", MODE),
    Part("stf.fields", "turn = stf_trial:Turn", FIELDS),
    Part("stf.measures", "brightness = stf_trial:Brightness", MEASURE),
)
"""What the package adds."""


def install(folder: Path) -> Path:
    """Build a package of all parts into a wheel, install it into a folder of its own, and return that."""
    groups: dict[str, dict[str, str]] = {}
    for part in PARTS:
        name, _, value = part.entry.partition(" = ")
        groups.setdefault(part.group, {})[name] = value
    return install_files(folder, "stf-trial", {"stf_trial.py": HEAD + "".join(part.source for part in PARTS)}, groups)


def install_files(folder: Path, name: str, files: dict[str, str], groups: dict[str, dict[str, str]]) -> Path:
    """Build a package of modules into a wheel, install it into a folder of its own, and return that.

    Args:
        folder: an empty one to work in.
        name: of the package.
        files: text of its modules, by their files' names.
        groups: its entry points, ``module:object`` by name, by group.
    """
    source, site = folder / "source", folder / "site"
    source.mkdir()
    for file, text in files.items():
        (source / file).write_text(text)
    lines = ["[build-system]", 'requires = ["setuptools"]', 'build-backend = "setuptools.build_meta"', "[project]"]
    lines += [f'name = "{name}"', 'version = "1.0"']
    for group, entries in groups.items():
        lines += [f'[project.entry-points."{group}"]', *(f'{key} = "{value}"' for key, value in entries.items())]
    modules = [file.removesuffix(".py") for file in files]
    (source / "pyproject.toml").write_text("\n".join([*lines, "[tool.setuptools]", f"py-modules = {modules}", ""]))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    quiet = {"check": True, "capture_output": True, "text": True, "cwd": folder}
    subprocess.run([*pip, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", ".", str(source)], **quiet)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)], **quiet)
    return site


def path_with(site: Path) -> dict[str, str]:
    """The environment of a process that finds this checkout and the package."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(site)]), "OMP_NUM_THREADS": "1"}
