"""What is benchmarked: models, data sets and seeds, as plain data; imports nothing heavy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from ffrl.core.errors import UserError, require

NOTHING, ONE, WHICH = "nothing", "one acts", "which acts"
"""What training is told of the transformations: nothing; that one acts throughout a sequence; and also which."""


@dataclass(frozen=True)
class Model:
    """A row of a table: a model, or a variant of one.

    Attributes:
        label: of letters, digits and hyphens; names the row on the command line.
        title: what the row is called.
        flags: of ``stf train``, the mode first.
        told: what training is told of the transformations.
        published: its name in the published tables; none if it is not in them.
        group: rows of one group share a panel of a plot.
        own_data: it sees other sequences than the rest, so that only its errors compare.
    """

    label: str
    title: str
    flags: tuple[str, ...]
    told: str = NOTHING
    published: str = ""
    group: str = ""
    own_data: bool = False


@dataclass(frozen=True)
class Data:
    """A data set.

    Attributes:
        label: of letters, digits and hyphens; a part of the names of its cells.
        flags: of ``stf train`` for it.
        needs_root: whether it needs ``--data.root``.
        images: how many training images are used, if that is what data sets of a suite differ in.
    """

    label: str
    flags: tuple[str, ...]
    needs_root: bool = False
    images: int | None = None

    @property
    def title(self) -> str:
        """What tables and plots call it.

        Example:
            >>> Data("mnist-1000", (), images=1000).title
            '1,000 images'
        """
        return self.label if self.images is None else f"{self.images:,} images"


@dataclass(frozen=True)
class Suite:
    """A grid of models, data sets and seeds.

    Attributes:
        name: on the command line.
        about: what it compares.
        kind: what its tables show.
        models: the rows.
        data: the data sets.
        seeds: default seeds.
        steps: default optimisation steps of every cell.
        sequences: default number of sequences that are measured.
        points: checkpoints of every run, for the error against training time.
        train: further flags of every ``stf train``.
        codes: whether latent codes are measured.
    """

    name: str
    about: str
    kind: Literal["models", "variants", "efficiency"]
    models: tuple[Model, ...]
    data: tuple[Data, ...]
    seeds: tuple[int, ...]
    steps: int
    sequences: int = 500
    points: int = 8
    train: tuple[str, ...] = ()
    codes: bool = False

    def choose(self, labels: Iterable[str] | None) -> tuple[Model, ...]:
        """Return the models with these labels in the order of the suite, all for None.

        Raises:
            UserError: no model has such a label.

        Example:
            >>> [model.label for model in SUITES["smoke"].choose(["weak", "vae"])]
            ['vae', 'weak']
        """
        if labels is None:
            return self.models
        wanted, known = set(labels), [model.label for model in self.models]
        require(bool(wanted - {""}), "--only", "no label", f"some of {', '.join(known)}")
        for label in sorted(wanted - set(known)):
            raise UserError(f"--only: found unknown label {label!r}, did you mean {_nearest(label, known)!r}?")
        return tuple(model for model in self.models if model.label in wanted)


def find_suite(name: str) -> Suite:
    """Return the suite called ``name``.

    Raises:
        UserError: there is none; the message has the nearest name.

    Example:
        >>> find_suite("mnist").name
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: found unknown suite 'mnist', did you mean 'mnist-table1'? (--help lists them)
    """
    if name not in SUITES:
        meant = _nearest(name, SUITES)
        raise UserError(f"found unknown suite {name!r}, did you mean {meant!r}? (--help lists them)")
    return SUITES[name]


def _nearest(name: str, known: Iterable[str]) -> str:
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]


def _mode(label: str, title: str, told: str, published: str = "", *flags: str) -> Model:
    return Model(label, title, ("--mode", label, *flags), told, published)


MODELS = (
    _mode("vae", "VAE", NOTHING, "VAE"),
    _mode("beta-vae", "β-VAE", NOTHING, "β-VAE"),
    _mode("factor-vae", "FactorVAE", NOTHING, "FactorVAE"),
    _mode("slow-vae", "SlowVAE", NOTHING, "SlowVAE"),
    _mode("tvae", "TVAE", WHICH, "TVAE"),
    _mode("poflow", "PoFlow", WHICH, "PoFlow"),
    _mode("msp", "MSP", ONE),
    _mode("supervised", "FFRL supervised", WHICH, "ours, supervised"),
    _mode("weak", "FFRL weak", ONE, "ours, weak", "--model.fields", "potential"),
    _mode("sta", "STA as published", NOTHING),
    Model("stf-weak", "STF weak", ("--mode", "weak"), ONE),
    _mode("unsupervised", "STF", NOTHING),
)
"""All models, those of the published tables first."""


def _variant(group: str, label: str, title: str, *flags: str, own_data: bool = False) -> Model:
    return Model(label, title, ("--mode", "unsupervised", *flags), group=group, own_data=own_data)


PARTS, PRIOR, DISCOVERY, BOUND, FIELDS, ACTIVE = (
    "parts of the field",
    "prior and posterior",
    "discovery and joint training",
    "objective and integrator",
    "number of fields",
    "active transformations",
)
VARIANTS = (
    _variant("", "stf", "STF (K = 6, 1 active)"),
    _variant(PARTS, "no-rotational", "without the rotational part", "--model.rotational-width", "0"),
    _variant(PARTS, "no-potential", "without the potential part", "--model.potential-width", "0"),
    _variant(PARTS, "penalised", "penalised divergence", "--model.divergence", "penalised"),
    _variant(PARTS, "separate", "separate control of the parts", "--model.control", "separate"),
    _variant(
        PRIOR,
        "no-chains",
        "independent steps for chains",
        *("--sparsity.on-rate", "0.25", "--sparsity.off-rate", "0.75", "--sparsity.no-learn-rates"),
    ),
    _variant(PRIOR, "fixed-rates", "fixed rates", "--sparsity.no-learn-rates"),
    _variant(PRIOR, "unit", "unit speeds", "--sparsity.slab", "unit"),
    _variant(DISCOVERY, "no-moves", "without moves, EM alone", "--discovery.rounds", "0"),
    _variant(
        DISCOVERY, "no-tempering", "without tempering", "--discovery.temper", "1", "--discovery.trial-temper", "1"
    ),
    _variant(DISCOVERY, "no-discovery", "without the discovery", "--discovery.fraction", "0"),
    _variant(DISCOVERY, "draw", "drawn activity in joint training", "--joint.activity", "draw"),
    _variant(DISCOVERY, "no-agreement", "without the agreement", "--joint.agreement", "0"),
    _variant(
        BOUND, "paper-trace", "paper objective, trace", "--objective.bound", "paper", "--objective.density", "trace"
    ),
    _variant(
        BOUND, "paper-exact", "paper objective, exact", "--objective.bound", "paper", "--objective.density", "exact"
    ),
    _variant(BOUND, "euler", "Euler for RK4", "--model.integrator", "euler"),
    _variant(BOUND, "midpoint", "midpoint for RK4", "--model.integrator", "midpoint"),
    *(_variant(FIELDS, f"k{k}", f"K = {k}", "--model.num-fields", f"{k}") for k in (1, 2, 3, 4, 8, 12, 16)),
    *(_variant(ACTIVE, f"active{n}", f"{n} active", "--data.active", f"{n}", own_data=True) for n in (2, 3)),
)
"""STF with one thing changed at a time."""

MNIST = Data("mnist", ("--data.name", "mnist"))
PUBLISHED_SIZE = {"msp": ("--model.rows", "12")}
"""Further flags of models at the published size: matrices of 12 x 27 for MSP."""
TINY = (
    "--model.width 32 --model.depth 1 --model.latent-dim 8 --model.potential-width 8 --batch-size 16 "
    "--validate-every 1000"
).split()

FEW = "--discovery.sequences 64 --discovery.held-out 32".split()
"""Further flags of tiny models that discover their fields."""


def _digits(count: int, needs_root: bool = False) -> Data:
    return Data(f"mnist-{count}", (*MNIST.flags, "--data.train-images", f"{count}"), needs_root, count)


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "mnist-table1",
            "every model on MNIST, as Table 1 of the FFRL poster",
            "models",
            MODELS,
            (MNIST,),
            (0, 1, 2),
            3600,
            codes=True,
        ),
        Suite(
            "mnist-published-size",
            "every model on MNIST at the published size, D = 324 and batches of 128: for a GPU",
            "models",
            tuple(replace(model, flags=(*model.flags, *PUBLISHED_SIZE.get(model.label, ()))) for model in MODELS),
            (Data("mnist", (*MNIST.flags, "--model.latent-dim", "324", "--batch-size", "128")),),
            (0, 1),
            10000,
            codes=True,
        ),
        Suite(
            "shapes3d-table2",
            "every model on Shapes3D, as Table 2 of the FFRL poster: rendered, or the file at --data.root",
            "models",
            MODELS,
            (Data("shapes3d", ("--data.name", "shapes3d")),),
            (0, 1),
            4000,
            codes=True,
        ),
        *(
            Suite(
                f"{name}-table{number}",
                f"every model on {title}, as Table {number} of the FFRL poster: rendered, or the folder at --data.root",
                "models",
                MODELS,
                (Data(name, ("--data.name", name)),),
                (0, 1),
                4000,
                sequences=100,
            )
            for name, title, number in (("falcor3d", "Falcor3D", 3), ("isaac3d", "Isaac3D", 4))
        ),
        Suite(
            "ablations", "STF on MNIST with one thing changed at a time", "variants", VARIANTS, (MNIST,), (0, 1), 3600
        ),
        Suite(
            "sample-efficiency",
            "how few digits suffice: 1,000, 5,000 and 8,000; with --data.root also 10,000 and 48,000",
            "efficiency",
            tuple(model for model in MODELS if model.label in ("vae", "msp", "supervised", "weak", "unsupervised")),
            (_digits(1000), _digits(5000), _digits(8000), _digits(10000, True), _digits(48000, True)),
            (0, 1),
            3600,
        ),
        Suite(
            "smoke",
            "tiny models on MNIST, to see that everything works; their numbers mean nothing",
            "models",
            tuple(
                replace(model, flags=(*model.flags, *(FEW if model.label in ("weak", "unsupervised") else ())))
                for model in MODELS
                if model.label in ("vae", "supervised", "weak", "unsupervised")
            ),
            (MNIST,),
            (0,),
            30,
            sequences=16,
            points=2,
            train=tuple(TINY),
        ),
    )
}
"""Every suite by its name."""
