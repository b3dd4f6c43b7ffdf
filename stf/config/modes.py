"""The modes that infer which fields act."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Self, TypeVar

from ffrl.config import ModelConfig, RunConfig, StillConfig, TrainingPhase
from ffrl.core.errors import require
from ffrl.core.homes import deferred
from ffrl.models.mode import Mode
from stf.config.discovery import DiscoveryConfig, DiscoveryPhase, RediscoveryConfig, RefineConfig, RefinePhase
from stf.config.joint import JointConfig
from stf.config.sparsity import SparsityConfig
from stf.fields.config import SPARE, SparseModelConfig, require_potentials

C = TypeVar("C", bound="WeakConfig | UnsupervisedConfig")


def _with_discovery(still: TrainingPhase, config: WeakConfig | UnsupervisedConfig) -> tuple[TrainingPhase, ...]:
    """The schedule still, discovery, joint, refine; where a second search is asked for, it divides the third."""
    before, again = config.rediscovery.shares(config.discovery)
    found, refined = config.discovery.fraction, config.refine.fraction
    joint = TrainingPhase("joint", 1.0 - still.fraction - found - before - again - refined, None, "joint training ends")
    second = (
        TrainingPhase("first-joint", before, None, "first joint training ends"),
        DiscoveryPhase("rediscovery", again, 1, "rediscovery ends"),
    )
    first = DiscoveryPhase("discovery", found, 1, "discovery ends")
    return (still, first, *(second if again else ()), joint, RefinePhase("refine", refined, 1, "refinement ends"))


def _with_longer_phases(config: C) -> C:
    """For large images: more steps of all phases, more of them for the joint training, and smoother codes.

    The likelihood of an image grows with its pixels, the KL of its latent does not: at its own weight the codes of
    still frames are so sharp and curved that no smooth field follows them. Where a step is a large part of an orbit,
    the unit of speed is held less firmly, or the refinement breaks fields.
    """
    still = replace(config.still, fraction=0.3, latent_weight=4.0)
    discovery, refine = replace(config.discovery, fraction=0.35), replace(config.refine, unit=10.0)
    return replace(config, steps=8000, still=still, discovery=discovery, refine=refine)


def _require_time_for_all(config: WeakConfig | UnsupervisedConfig) -> None:
    others = config.still.fraction + sum(config.rediscovery.shares(config.discovery)) + config.refine.fraction
    expected = f"below {1 - others:g}, what the fractions of still, rediscovery and refine leave"
    require(config.discovery.fraction + others < 1.0, "discovery.fraction", config.discovery.fraction, expected)


@dataclass(frozen=True)
class WeakConfig(RunConfig):
    """Weakly supervised: one transformation acts throughout each sequence, but which one is inferred."""

    sequences = "single"
    spare_fields = SPARE
    mode: Literal["weak"] = "weak"
    steps: int = 5000
    """Steps of all phases; those of the discovery are steps of expectation-maximisation on encoded sequences."""
    still: StillConfig = field(default_factory=lambda: StillConfig(fraction=0.18))
    model: ModelConfig = field(default_factory=lambda: ModelConfig(num_fields=6, time_dependent=True, integrator="rk4"))
    discovery: DiscoveryConfig = field(
        default_factory=lambda: DiscoveryConfig(
            fraction=0.28, rounds=1, accept=0.05, accept_longer=0.08, trial_temper=1.0, worth=0.0
        )
    )
    """No refill, and moves accepted only where they cost next to nothing: where one field acts throughout, the place
    gives it away, so that copies divide sequences among them, and wrong merges cost little."""
    joint: JointConfig = field(default_factory=JointConfig)
    rediscovery: RediscoveryConfig = field(default_factory=RediscoveryConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)

    @property
    def schedule(self) -> tuple[TrainingPhase, ...]:
        """Still frames, discovery of the fields, joint training (with a second discovery in it), refinement."""
        return _with_discovery(super().schedule[0], self)

    def for_large_images(self) -> Self:
        """The configuration with networks for large images, smaller batches, and more and longer phases."""
        return _with_longer_phases(super().for_large_images())

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_time_for_all(self)


@dataclass(frozen=True)
class UnsupervisedConfig(RunConfig):
    """Unsupervised: which fields act, when, and how fast is inferred from the frames alone."""

    spare_fields = SPARE
    mode: Literal["unsupervised"] = "unsupervised"
    steps: int = 8500
    """Steps of all phases; those of the discovery are steps of expectation-maximisation on encoded sequences."""
    still: StillConfig = field(default_factory=lambda: StillConfig(fraction=0.54))
    model: SparseModelConfig = field(default_factory=lambda: SparseModelConfig(integrator="rk4"))
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)
    discovery: DiscoveryConfig = field(default_factory=lambda: DiscoveryConfig(fraction=0.11))
    joint: JointConfig = field(default_factory=JointConfig)
    rediscovery: RediscoveryConfig = field(default_factory=lambda: RediscoveryConfig(fraction=0.18, after=0.04))
    refine: RefineConfig = field(default_factory=RefineConfig)

    @property
    def schedule(self) -> tuple[TrainingPhase, ...]:
        """Still frames, discovery of the fields, joint training (with a second discovery in it), refinement."""
        return _with_discovery(super().schedule[0], self)

    def for_large_images(self) -> Self:
        """The configuration with networks for large images, smaller batches, and more and longer phases."""
        found = _with_longer_phases(super().for_large_images())
        discovery = replace(found.discovery, fraction=0.13)
        return replace(found, discovery=discovery, rediscovery=RediscoveryConfig(fraction=0.22, after=0.08))

    def __post_init__(self) -> None:
        super().__post_init__()
        require_potentials(self)
        _require_time_for_all(self)


UNSUPERVISED = Mode(UnsupervisedConfig, deferred("stf.models.unsupervised:unsupervised"))
"""Sparse transformation flow, whose activity is inferred."""
WEAK = Mode(WeakConfig, deferred("stf.models.weak:weak"))
"""FFRL, weakly supervised."""
