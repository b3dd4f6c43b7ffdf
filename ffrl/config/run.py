"""A run: data, model, objective, optimiser and phases."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from ffrl.config.checks import at_least
from ffrl.config.data import DataConfig
from ffrl.config.model import ModelConfig
from ffrl.config.objective import ObjectiveConfig
from ffrl.config.optimizer import OptimizerConfig
from ffrl.config.phases import StillConfig, TrainingPhase
from ffrl.core.device_name import DEVICES, DeviceName
from ffrl.core.errors import require


@dataclass(frozen=True)
class RunConfig:
    """What every mode shares: data, objective, optimiser and the run itself."""

    sequences: ClassVar[Literal["mixed", "single", "labelled"]] = "mixed"
    """Training sequences: transformations take turns; one acts throughout; one acts, and the model is told which."""
    needs_transformations: ClassVar[bool] = False
    """Whether there has to be one field for each known transformation."""
    spare_fields: ClassVar[int] = 0
    """Fields that it has by default beyond the transformations of its data."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    still: StillConfig = field(default_factory=StillConfig)
    out: Path | None = None
    """The run folder (default: runs/<mode>-<data>-<time>); a non-empty one is refused."""
    steps: int = 3600
    """Optimisation steps."""
    planned_steps: int | None = None
    """Steps that the phases are shares of; those beyond are of the joint training and what follows it once more, with
    a cycle of the learning rate of their own (stf train --resume RUN --steps N sets it; left out: all)."""
    batch_size: int = 64
    """B, sequences per step."""
    seed: int = 0
    """Seed of everything random."""
    device: DeviceName = "auto"
    """Where to compute; auto takes CUDA when there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 autocast of the networks where a measurement at the start finds it at least 1.25 times as fast."""
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

    if TYPE_CHECKING:

        @property
        def mode(self) -> str:
            """Its name, a field of every subclass."""

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

    def progress(self, step: int) -> float:
        """Which share of training is over before ``step``, for what changes in its course.

        Example:
            >>> SupervisedConfig(steps=100).longer(150).progress(120)
            1.0
        """
        return min(step / (self.planned_steps or self.steps), 1.0)

    def longer(self, steps: int, source: str = "steps") -> Self:
        """The configuration of the same run with more steps, of what it ends with.

        Raises:
            UserError: they are fewer.

        Example:
            >>> longer = SupervisedConfig(steps=100).longer(150)
            >>> longer.steps, longer.planned_steps
            (150, 100)
        """
        require(steps >= self.steps, source, steps, f"at least {self.steps}, the steps that the run has")
        return (
            self if steps == self.steps else replace(self, steps=steps, planned_steps=self.planned_steps or self.steps)
        )

    def for_transformations(self, count: int) -> Self:
        """The configuration with the sizes that it has by default for data of so many known transformations.

        Example:
            >>> SupervisedConfig().for_transformations(5).model.num_fields
            5
        """
        return replace(self, model=replace(self.model, num_fields=count + self.spare_fields))

    def for_large_images(self) -> Self:
        """The configuration with an encoder and a decoder for large images, smaller batches and more steps.

        Models whose latents have no structure of their own get 32 dimensions: with more, the codes of large images are
        less smooth.

        Example:
            >>> SupervisedConfig().for_large_images().model.architecture
            'conv-coarse'
        """
        dim = self.model.latent_dim
        dim = 32 if dim == ModelConfig.latent_dim else dim
        model = replace(self.model, architecture="conv-coarse", width=32, depth=1, latent_dim=dim)
        return replace(self, model=model, batch_size=32, steps=4000)

    def for_vectors(self, count: int) -> Self:
        """The configuration for vectors of so many features: a Gaussian with a learned noise for each of them.

        Models whose latents have no structure of their own get twice as many dimensions as there are features, 8 at
        least, up to those that they have for images.

        Example:
            >>> config = SupervisedConfig().for_vectors(6)
            >>> config.objective.likelihood, config.model.latent_dim
            ('gaussian', 12)
        """
        dim = self.model.latent_dim
        dim = min(dim, max(8, 2 * count)) if dim == ModelConfig.latent_dim else dim
        objective = replace(self.objective, likelihood="gaussian", likelihood_scale=0.3)
        return replace(self, model=replace(self.model, latent_dim=dim), objective=objective)

    def __post_init__(self) -> None:
        for key in ("steps", "batch_size", "checkpoint_every", "keep_checkpoints", "validate_every", "log_every"):
            at_least(key.replace("_", "-"), getattr(self, key), 1)
        planned = self.planned_steps
        fits = planned is None or 1 <= planned <= self.steps
        require(fits, "planned-steps", planned, f"an integer from 1 to steps, {self.steps}")
        require(0 <= self.seed < 2**63, "seed", self.seed, "an integer in [0, 2**63)")
        DEVICES.require("device", self.device)
        timed = self.model.time_dependent
        for key in ("hj_weight", "hj_initial_weight"):
            value = getattr(self.objective, key)
            name = "objective." + key.replace("_", "-")
            require(timed or value == 0.0, name, value, "0 unless model.time-dependent is set")
        poster_needs = self.objective.density != "poster" or self.model.integrator == "euler"
        require(poster_needs, "objective.density", "poster", "exact or trace unless model.integrator is euler")
        found, expected = self.objective.likelihood, "laplace or gaussian for changes (data.sequences.static)"
        require(not self.data.changes or found != "bernoulli", "objective.likelihood", found, expected)


@dataclass(frozen=True)
class SupervisedConfig(RunConfig):
    """Supervised: the active transformation k of every sequence is given."""

    sequences = "labelled"
    needs_transformations = True
    mode: Literal["supervised"] = "supervised"
    model: ModelConfig = field(default_factory=lambda: ModelConfig(time_dependent=True))
