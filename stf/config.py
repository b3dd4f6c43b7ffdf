"""Configuration of the unsupervised mode, and of every mode by name; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ffrl.config import (
    DataConfig,
    ModelConfig,
    RunConfig,
    StillConfig,
    SupervisedConfig,
    TrainingPhase,
    _at_least,
    _non_negative,
    _positive,
    _probability,
)
from ffrl.core.errors import require
from ffrl.data.catalogue import describe, image_shape, transformations
from ffrl.models.baselines.config import BASELINES, CapsuleModelConfig
from stf.fields.config import SparseModelConfig, require_potentials
from stf.sta.config import StaConfig


@dataclass(frozen=True)
class DiscoveryConfig:
    """Second phase of training: the fields are learnt on encoded sequences, by expectation-maximisation with moves."""

    fraction: float = 0.37
    """Share of the steps that this phase takes; 0 leaves it out, and the fields to the joint training."""
    sequences: int = 2000
    """Sequences that are encoded for it, once."""
    held_out: int = 200
    """Further ones, of other images, on which the log evidence of moves is measured."""
    batch_size: int = 64
    """Sequences per step while fields form, settle and are polished."""
    trial_batch_size: int = 32
    """Sequences per step of the trials of moves."""
    starts: int = 1
    """Random starts that form side by side; the one with the largest held-out log evidence goes on."""
    rounds: int = 2
    """Rounds of moves; between two of them empty places are refilled. 0 makes no moves: fields form, no more."""
    form: int = 400
    """Steps in which fields form from random ones (all lengths of stages shrink together in a short phase)."""
    pairs: int = 100
    """Steps in which one field is fitted to every pair."""
    trial: int = 60
    """Steps of the trials of moves, beside the unchanged model."""
    longer: int = 250
    """Further steps of the best two trials when none of them is accepted yet."""
    settle: int = 200
    """Steps after a refill."""
    polish: int = 300
    """Least steps of what the moves leave, at the end."""
    merges: int = 3
    """Merges that are tried at once."""
    deletions: int = 2
    """Deletions that are tried at once."""
    extra: int = 2
    """Empty places that a refill fills at most."""
    accept: float = 0.3
    """Accept a move that loses less than this share of the log evidence that the lack of its field costs at first."""
    accept_longer: float = 0.5
    """The same after the longer trial."""
    hopeless: float = 1.0
    """A trial whose best move loses more than this share is not prolonged."""
    screen: float = 0.6
    """Merges whose one field fails to explain more than this share of what two explain are not tried."""
    silent: float = 0.01
    """A field that is on in a smaller share of the steps is dropped."""
    perturbation: float = 0.3
    """Noise of a refilled copy, in units of the standard deviation of its parameters."""
    temper: float = 0.05
    """Weight of the log-likelihood in the chain at first, while fields form; it grows geometrically to 1."""
    trial_temper: float = 0.5
    """The same at the start of a trial, and after a refill."""
    worth: float = 80.0
    """Nats that a wholly explained transition is worth while fields form and in trials, and where moves are judged.

    With 0 every model has its own misfit there, and moves are judged at the least one."""
    unit: float = 10.0
    """Weight of what holds the unit of speed: fields grow where the mean of their speeds exceeds 1."""
    rollout: float = 0.3
    """Weight of the misfit along rollouts beside that between codes, in the polish."""
    learning_rate: float = 1e-2
    """Peak learning rate of Adam."""
    pair_learning_rate: float = 6e-3
    """That of the fits to pairs."""

    def __post_init__(self) -> None:
        require(0.0 <= self.fraction < 1.0, "discovery.fraction", self.fraction, "a number in [0, 1)")
        whole = (
            "sequences",
            "held_out",
            "batch_size",
            "trial_batch_size",
            "starts",
            "form",
            "pairs",
            "trial",
        )
        for key in (*whole, "longer", "settle", "polish", "merges"):
            _at_least("discovery." + key.replace("_", "-"), getattr(self, key), 1)
        for key in ("rounds", "deletions", "extra"):
            _at_least("discovery." + key, getattr(self, key), 0)
        for key in (
            "accept",
            "accept_longer",
            "hopeless",
            "screen",
            "perturbation",
            "silent",
            "worth",
            "unit",
            "rollout",
        ):
            _non_negative("discovery." + key.replace("_", "-"), getattr(self, key))
        for key in ("temper", "trial_temper"):
            value = getattr(self, key)
            require(0.0 < value <= 1.0, "discovery." + key.replace("_", "-"), value, "a number in (0, 1]")
        for key in ("learning_rate", "pair_learning_rate"):
            _positive("discovery." + key.replace("_", "-"), getattr(self, key))


@dataclass(frozen=True)
class DiscoveryPhase(TrainingPhase):
    """The phase in which the fields are learnt on encoded sequences, with the encoder held."""

    by_gradient = False

    def runner(self, run: Any) -> Any:
        """The search; see :class:`stf.discovery.runner.DiscoveryRunner`."""
        from stf.discovery.runner import DiscoveryRunner

        return DiscoveryRunner(run)


@dataclass(frozen=True)
class RefinePhase(TrainingPhase):
    """The phase in which the fields that were found catch up with the codes that joint training has left."""

    by_gradient = False

    def runner(self, run: Any) -> Any:
        """EM steps without moves; see :class:`stf.discovery.runner.RefineRunner`."""
        from stf.discovery.runner import RefineRunner

        return RefineRunner(run)


@dataclass(frozen=True)
class RefineConfig:
    """Last phase of training: the fields are fitted to the final codes, as in the discovery but without moves."""

    fraction: float = 0.06
    """Share of the steps that this phase takes; 0 leaves it out."""
    rollout: float = 0.05
    """Weight of the misfit along rollouts beside that between codes: the one is for predictions, the other for the
    inference of activity."""

    def __post_init__(self) -> None:
        require(0.0 <= self.fraction < 1.0, "refine.fraction", self.fraction, "a number in [0, 1)")
        _non_negative("refine.rollout", self.rollout)


@dataclass(frozen=True)
class JointConfig:
    """Third phase of training: encoder, decoder and fields together, on the bound with the exact posterior."""

    activity: Literal["mean", "draw"] = "mean"
    """What moves the latents in training: the speeds of what is more probably on than off, or a draw."""
    agreement: float = 4.0
    """Weight of the expected squared difference, in units of the encoder's noise, between the flow and the encoder's
    own codes, which keeps activity inferable from them."""
    anneal: float = 0.5
    """Share of this phase over which the weight of the KL of z_0 falls from that of still frames, T + 1, to 1."""

    def __post_init__(self) -> None:
        _non_negative("joint.agreement", self.agreement)
        require(0.0 <= self.anneal <= 1.0, "joint.anneal", self.anneal, "a number in [0, 1]")


@dataclass(frozen=True)
class SparsityConfig:
    """The prior over activity: spikes are independent two-state chains, slabs are normal."""

    on_rate: float = 0.1
    """Probability per step that a silent field switches on."""
    off_rate: float = 0.3
    """Probability per step that an active field switches off."""
    learn_rates: bool = True
    """Estimate both rates, one pair per field, from expected transitions once the fields are found."""
    slab: Literal["positive", "signed", "unit"] = "positive"
    """Speeds: normal around 1, the same with a random sign, or exactly 1."""
    slab_spread: float = 0.3
    """Standard deviation of a speed around 1."""
    most: int = 3
    """How many fields may be on at once."""
    enumerated: int = 8
    """Beyond so many fields, only the best so many are enumerated in each sequence (expectation truncation)."""

    def __post_init__(self) -> None:
        _probability("sparsity.on-rate", self.on_rate)
        _probability("sparsity.off-rate", self.off_rate)
        _positive("sparsity.slab-spread", self.slab_spread)
        _at_least("sparsity.most", self.most, 1)
        _at_least("sparsity.enumerated", self.enumerated, 1)


def _with_discovery(config: WeakConfig | UnsupervisedConfig) -> tuple[TrainingPhase, ...]:
    """The schedule still, discovery, joint, refine."""
    still, _ = RunConfig.schedule.fget(config)
    found, refined = config.discovery.fraction, config.refine.fraction
    return (
        still,
        DiscoveryPhase("discovery", found, 1, "discovery ends"),
        TrainingPhase("joint", 1.0 - still.fraction - found - refined, None, "joint training ends"),
        RefinePhase("refine", refined, 1, "refinement ends"),
    )


def _require_time_for_all(config: WeakConfig | UnsupervisedConfig) -> None:
    others = config.still.fraction + config.refine.fraction
    expected = f"below {1 - others:g}, what still.fraction and refine.fraction leave"
    require(config.discovery.fraction + others < 1.0, "discovery.fraction", config.discovery.fraction, expected)


@dataclass(frozen=True)
class WeakConfig(RunConfig):
    """Weakly supervised: one transformation acts throughout each sequence, but which one is inferred."""

    sequences = "single"
    mode: Literal["weak"] = "weak"
    steps: int = 5000
    """Steps of all phases; those of the discovery are steps of expectation-maximisation on encoded sequences."""
    still: StillConfig = field(default_factory=lambda: StillConfig(fraction=0.18))
    model: ModelConfig = field(default_factory=lambda: ModelConfig(num_fields=6, time_dependent=True, integrator="rk4"))
    discovery: DiscoveryConfig = field(
        default_factory=lambda: DiscoveryConfig(
            fraction=0.28, rounds=1, accept=0.25, accept_longer=0.25, trial_temper=1.0, worth=0.0
        )
    )
    """No refill, and moves accepted later: where one field acts throughout, the place gives it away, so that copies
    divide sequences among them, and wrong merges cost less."""
    joint: JointConfig = field(default_factory=JointConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)

    @property
    def schedule(self) -> tuple[TrainingPhase, ...]:
        """Still frames, discovery of the fields, joint training, refinement of the fields."""
        return _with_discovery(self)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_time_for_all(self)


@dataclass(frozen=True)
class UnsupervisedConfig(RunConfig):
    """Unsupervised: which fields act, when, and how fast is inferred from the frames alone."""

    mode: Literal["unsupervised"] = "unsupervised"
    steps: int = 6500
    """Steps of all phases; those of the discovery are steps of expectation-maximisation on encoded sequences."""
    still: StillConfig = field(default_factory=lambda: StillConfig(fraction=0.43))
    model: SparseModelConfig = field(default_factory=lambda: SparseModelConfig(integrator="rk4"))
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)
    discovery: DiscoveryConfig = field(default_factory=DiscoveryConfig)
    joint: JointConfig = field(default_factory=JointConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)

    @property
    def schedule(self) -> tuple[TrainingPhase, ...]:
        """Still frames, discovery of the fields, joint training, refinement of the fields."""
        return _with_discovery(self)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_potentials(self)
        _require_time_for_all(self)


CONFIGS: dict[str, type[RunConfig]] = {
    "unsupervised": UnsupervisedConfig,
    "supervised": SupervisedConfig,
    "weak": WeakConfig,
    **BASELINES,
    "sta": StaConfig,
}
"""Configuration class of every mode, the baselines among them."""
SPARE = 3
"""Fields that an unsupervised model has by default beyond the transformations of its data."""
CAPSULES = 2
"""Capsules that a topographic VAE has by default for each transformation."""
LARGE = 48
"""Side from which on images get the defaults of large ones: convolutions on coarse patches, and smaller batches."""


def default_config(mode: str, data: DataConfig | None = None) -> RunConfig:
    """Return the defaults of a mode for a data set: T as published, its likelihood, one field per transformation.

    Models that find their fields, the weak mode and STA as published among them, get :data:`SPARE` fields more. Images
    of :data:`LARGE` pixels a side or more get an encoder and a decoder for them, batches of 32 and more steps.

    Args:
        mode: key of :data:`CONFIGS`.
        data: its ``name``, and what decides on its transformations; MNIST for None.

    Raises:
        UserError: the mode is supervised and the transformations of the data are not known.

    Example:
        >>> config = default_config("unsupervised", DataConfig(name="shapes3d"))
        >>> config.model.num_fields, config.data.num_steps
        (8, 7)
    """
    config = CONFIGS[mode]()
    data = config.data if data is None else data
    config = replace(config, objective=replace(config.objective, likelihood=describe(data.name).likelihood))
    if image_shape(data)[-1] >= LARGE:
        model = replace(config.model, architecture="conv-coarse", width=32, depth=1)
        config = replace(config, model=model, batch_size=32, steps=4000)
        if isinstance(config, UnsupervisedConfig | WeakConfig):
            discovery, refine = replace(config.discovery, fraction=0.35), replace(config.refine, rollout=0.3)
            still = replace(config.still, fraction=0.3)
            config = replace(config, steps=8000, still=still, discovery=discovery, refine=refine)
    names = transformations(data)
    known = bool(names) or not config.needs_transformations
    expected = "data whose transformations are known, or mode unsupervised, weak, sta or msp"
    require(known, "data.name", data.name, expected)
    searched = isinstance(config.model, SparseModelConfig) or isinstance(config, WeakConfig)
    fields = len(names) + SPARE if searched else len(names)
    sizes = {"num_fields": fields} if names else {}
    if names and isinstance(config.model, CapsuleModelConfig):
        sizes["latent_dim"] = CAPSULES * fields * config.model.capsule_size
    model = replace(config.model, **sizes)
    return replace(config, model=model, data=replace(data, num_steps=describe(data.name).num_steps))
