"""Configuration of data, model, objective, optimiser and run; imports nothing heavy, so ``--help`` is instant.

Every dataclass is frozen and checks its own values. The string under a field is its help text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from ffrl.core.errors import require


def _positive(key: str, value: float) -> None:
    require(math.isfinite(value) and value > 0, key, value, "a number above 0")


def _non_negative(key: str, value: float) -> None:
    require(math.isfinite(value) and value >= 0, key, value, "a number of at least 0")


def _at_least(key: str, value: int, least: int) -> None:
    require(value >= least, key, value, f"an integer of at least {least}")


def _probability(key: str, value: float) -> None:
    require(0.0 < value < 1.0, key, value, "a probability strictly between 0 and 1")


DataName = Literal["mnist", "shapes3d", "falcor3d", "isaac3d", "sprites", "moving-mnist", "sequences"]


@dataclass(frozen=True)
class ClipsConfig:
    """How a user's own recordings become clips (--data.name sequences)."""

    size: int = 64
    """Frames become size x size pixels in colour."""
    crop: Literal["center", "none"] = "center"
    """center: cut the largest square out of the middle, then resize; none: resize, whatever the proportions."""
    stride: int = 1
    """Take every stride-th frame of a recording."""
    hop: int = 0
    """Frames, after the stride, between the starts of two clips; 0 is half a clip."""
    validation: float = 0.2
    """Share of the recordings that are held out; of a single recording, its last part."""
    broken: Literal["refuse", "skip"] = "refuse"
    """What to do with recordings that cannot be used: stop, or name them and go on without."""
    cache: Path | None = None
    """Folder for the resized frames, read from there as they are needed (left out: stf in the user's cache folder)."""

    def __post_init__(self) -> None:
        require(8 <= self.size <= 1024, "data.sequences.size", self.size, "an integer from 8 to 1024")
        _at_least("data.sequences.stride", self.stride, 1)
        _at_least("data.sequences.hop", self.hop, 0)
        _probability("data.sequences.validation", self.validation)


@dataclass(frozen=True)
class DataConfig:
    """Which sequences the model sees."""

    name: DataName = "mnist"
    """Data set; its published T, and one field per transformation or three to spare, become defaults."""
    root: Path | None = None
    """Where the files are: a folder, for shapes3d also 3dshapes.h5 itself, for sequences also one recording. Left out:
    the 10,000 digits that come with the package (mnist, moving-mnist), or rendered images (shapes3d)."""
    download: bool = False
    """Fetch the full MNIST into --data.root first (needs a network); for other data sets see stf data fetch."""
    protocol: Literal["ffrl", "sta"] = "ffrl"
    """Unit steps of MNIST: ffrl is +0.1 scale, 10 degrees, 20 degrees of hue; sta is x1.1 scale, 20 degrees, 20
    degrees. Mixed sequences of any data set: ffrl switches one transformation, sta has independent Markov chains."""
    num_steps: int = 8
    """T, the number of transitions in a sequence of T + 1 frames."""
    stay: float = 0.85
    """Mixed sequences, protocol ffrl: probability per step that the acting transformation goes on acting."""
    overlap: float = 0.1
    """Mixed sequences, protocol ffrl: probability per step that one more transformation acts."""
    active: int = 1
    """Mixed sequences, protocol ffrl: how many transformations act at a time, each switching on its own; two of them
    may be the same one, and more than the data has transformations add nothing."""
    on_rate: float = 0.1
    """Mixed sequences, protocol sta: probability per step that an inactive transformation switches on."""
    off_rate: float = 0.3
    """Mixed sequences, protocol sta: probability per step that an active transformation switches off."""
    speed_spread: float = 0.7
    """Mixed sequences, protocol ffrl: speeds are uniform on [1 - spread, 1 + spread] (sta: Laplace(1, 0.1))."""
    train_images: int | None = None
    """Train on the first so many images, or clips, of the training split only (left out: all of them)."""
    start_probability: float = 0.5
    """Training sequences: probability that a transformation has already acted before the first frame (mnist), or does
    not start at the first value of its factor (shapes3d, falcor3d, isaac3d)."""
    in_memory: bool = False
    """Read the image files of a benchmark data set into memory as a whole (shapes3d: 5.5 GiB), not as they are needed.
    3dshapes.h5 is quick in this way, or once stf data fetch shapes3d --unpack has unpacked it."""
    workers: int = 2
    """Threads that decode pictures; batches are read ahead of the training step, for 0 when it needs them."""
    digits: int = 1
    """moving-mnist: digits per frame, each with transformations of its own."""
    sequences: ClipsConfig = field(default_factory=ClipsConfig)

    def __post_init__(self) -> None:
        _at_least("data.num-steps", self.num_steps, 1)
        require(0.0 <= self.stay <= 1.0, "data.stay", self.stay, "a probability")
        require(0.0 <= self.overlap <= 1.0, "data.overlap", self.overlap, "a probability")
        _at_least("data.active", self.active, 1)
        _probability("data.on-rate", self.on_rate)
        _probability("data.off-rate", self.off_rate)
        require(0.0 <= self.speed_spread < 1.0, "data.speed-spread", self.speed_spread, "a number in [0, 1)")
        count = self.train_images
        require(count is None or count >= 1, "data.train-images", count, "an integer of at least 1")
        start = self.start_probability
        require(0.0 <= start <= 1.0, "data.start-probability", start, "a probability")
        require(not self.download or self.root is not None, "data.download", True, "--data.root to download into")
        _at_least("data.workers", self.workers, 0)
        require(1 <= self.digits <= 4, "data.digits", self.digits, "an integer from 1 to 4")


@dataclass(frozen=True)
class ModelConfig:
    """Encoder, decoder and the potentials that move the latents."""

    latent_dim: int = 32
    """D, the dimension of the latent space."""
    num_fields: int = 3
    """K, the number of fields."""
    architecture: Literal["mlp", "mixer", "conv", "conv-coarse"] = "mlp"
    """Encoder and decoder: MLP, patch mixer, convolutions for GPUs, or on coarse patches (64 pixels and up on CPUs)."""
    width: int = 256
    """Hidden width of the MLP, token width of the mixer, or channels of the first stage of convolutions."""
    depth: int = 2
    """Hidden layers of the MLP, mixer blocks, or blocks per stage of convolutions, each way."""
    potential_width: int = 64
    """Hidden units of each field's potential."""
    activation: Literal["logcosh", "softplus", "sine"] = "logcosh"
    """phi of the potentials u = a . phi(W z + b + tau(t))."""
    time_dependent: bool = False
    """Let the fields depend on t / T."""
    integrator: Literal["euler", "midpoint", "rk4"] = "euler"
    """Integrator of one transition."""
    substeps: int = 1
    """Integrator steps per transition."""
    diffusion: float = 0.1
    """Initial value of the learnable diffusion coefficients kappa_k of the prior flow."""
    narrowest_potential: ClassVar[int] = 1
    """Least ``potential_width``."""

    def __post_init__(self) -> None:
        for key in ("latent_dim", "num_fields", "width", "depth", "substeps"):
            _at_least("model." + key.replace("_", "-"), getattr(self, key), 1)
        _at_least("model.potential-width", self.potential_width, self.narrowest_potential)
        _positive("model.diffusion", self.diffusion)


@dataclass(frozen=True)
class ObjectiveConfig:
    """The evidence lower bound that is maximised."""

    bound: Literal["strict", "paper"] = "strict"
    """strict: one deterministic flow shared by model and posterior; paper: with the diffusion prior's KL per step."""
    density: Literal["exact", "trace", "poster"] = "exact"
    """Density change of the paper bound: exact log-determinant, its continuous-time limit, or the poster's formula."""
    likelihood: Literal["bernoulli", "gaussian", "laplace"] = "laplace"
    """p(x | z) per pixel. Bernoulli on grey pixels is an expected log-likelihood, not a density."""
    likelihood_scale: float = 0.3
    """Standard deviation of the Gaussian, or scale b of the Laplace likelihood."""
    hj_weight: float = 0.0
    """Weight of the Hamilton-Jacobi residual (time-dependent potentials only)."""
    hj_initial_weight: float = 0.0
    """Weight of the initial condition of the Hamilton-Jacobi equation (time-dependent potentials only)."""
    hj_source: bool = True
    """Learn the source f <= 0 of the Hamilton-Jacobi equation; otherwise f = 0."""

    def __post_init__(self) -> None:
        _positive("objective.likelihood-scale", self.likelihood_scale)
        _non_negative("objective.hj-weight", self.hj_weight)
        _non_negative("objective.hj-initial-weight", self.hj_initial_weight)


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up and a cosine decay."""

    learning_rate: float = 2e-3
    """Peak learning rate."""
    field_factor: float = 3.0
    """Learning rate of the fields in units of that of the encoder and the decoder."""
    final_learning_rate: float = 1e-5
    """Learning rate at the last step."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    gradient_clip: float = 100.0
    """Largest gradient norm; larger gradients are scaled down, non-finite ones skip the step."""

    def __post_init__(self) -> None:
        _positive("optimizer.learning-rate", self.learning_rate)
        _positive("optimizer.field-factor", self.field_factor)
        _non_negative("optimizer.final-learning-rate", self.final_learning_rate)
        _at_least("optimizer.warmup-steps", self.warmup_steps, 0)
        _non_negative("optimizer.weight-decay", self.weight_decay)
        _positive("optimizer.gradient-clip", self.gradient_clip)


@dataclass(frozen=True)
class StillConfig:
    """First phase of training, the same in every mode: frames stand alone and nothing moves."""

    fraction: float = 0.25
    """Share of the steps, the first ones, that this phase takes."""
    frames: int = 3
    """Frames taken from each sequence, evenly spaced over it."""
    latent_weight: float = 1.0
    """Weight of the KL of a frame's latent when this phase ends (it rises from 0): 1 / (T + 1) is its share in the
    bound of a sequence, which has one latent for all its frames."""
    cross_entropy: float = 1.0
    """Weight of the pixels' cross-entropy beside their likelihood: its gradient does not vanish on black pixels."""

    def __post_init__(self) -> None:
        require(0.0 <= self.fraction < 1.0, "still.fraction", self.fraction, "a number in [0, 1)")
        _at_least("still.frames", self.frames, 1)
        _non_negative("still.cross-entropy", self.cross_entropy)
        _non_negative("still.latent-weight", self.latent_weight)


@dataclass(frozen=True)
class TrainingPhase:
    """One phase of training: what the trainer, the progress display, budgets and figures need to know of it.

    Args:
        name: what it is called.
        fraction: its share of the steps.
        frames: frames of a sequence that one step of it trains on, or costs as much as; all of them for None.
        title: what figures call its end.
    """

    name: str
    fraction: float
    frames: int | None
    title: str
    by_gradient: ClassVar[bool] = True
    """Whether its steps are those of the bound's optimiser."""

    def runner(self, run: Any) -> Any:
        """What takes its steps in a :class:`ffrl.training.phases.RunContext`."""
        from ffrl.training.phases import GradientRunner

        return GradientRunner(run)


@dataclass(frozen=True)
class RunConfig:
    """What every mode shares: data, objective, optimiser and the run itself."""

    sequences: ClassVar[Literal["mixed", "single", "labelled"]] = "mixed"
    """Training sequences: transformations take turns; one acts throughout; one acts, and the model is told which."""
    needs_transformations: ClassVar[bool] = False
    """Whether there has to be one field for each known transformation."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    still: StillConfig = field(default_factory=StillConfig)
    out: Path | None = None
    """The run folder (default: runs/<mode>-<data>-<time>); a non-empty one is refused."""
    steps: int = 3600
    """Optimisation steps."""
    batch_size: int = 64
    """B, sequences per step."""
    seed: int = 0
    """Seed of everything random."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes CUDA when there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 autocast where the hardware multiplies it natively (CUDA, CPUs with AMX), else float32."""
    deterministic: bool = False
    """Only deterministic kernels: the same seed gives the same weights, bit for bit."""
    compile: bool = False
    """Compile the training step with torch.compile."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep_checkpoints: int = 3
    """How many of the newest checkpoints stay on disk."""
    validate_every: int = 200
    """Steps between validations."""
    log_every: int = 20
    """Steps between lines of metrics.jsonl."""
    tensorboard: bool = False
    """Also write TensorBoard event files (needs the tensorboard package)."""

    @property
    def schedule(self) -> tuple[TrainingPhase, ...]:
        """The phases of training in their order; their shares of the steps sum to 1.

        Example:
            >>> [(phase.name, phase.fraction) for phase in RunConfig().schedule]
            [('still', 0.25), ('joint', 0.75)]
        """
        still = self.still
        first = TrainingPhase("still", still.fraction, still.frames, "still frames end")
        return (first, TrainingPhase("joint", 1.0 - still.fraction, None, "joint training ends"))

    def __post_init__(self) -> None:
        for key in ("steps", "batch_size", "checkpoint_every", "keep_checkpoints", "validate_every", "log_every"):
            _at_least(key.replace("_", "-"), getattr(self, key), 1)
        require(0 <= self.seed < 2**63, "seed", self.seed, "an integer in [0, 2**63)")
        timed = self.model.time_dependent
        for key in ("hj_weight", "hj_initial_weight"):
            value = getattr(self.objective, key)
            name = "objective." + key.replace("_", "-")
            require(timed or value == 0.0, name, value, "0 unless model.time-dependent is set")
        poster_needs = self.objective.density != "poster" or self.model.integrator == "euler"
        require(poster_needs, "objective.density", "poster", "exact or trace unless model.integrator is euler")


@dataclass(frozen=True)
class SupervisedConfig(RunConfig):
    """Supervised: the active transformation k of every sequence is given."""

    sequences = "labelled"
    needs_transformations = True
    mode: Literal["supervised"] = "supervised"
    model: ModelConfig = field(default_factory=lambda: ModelConfig(time_dependent=True))
