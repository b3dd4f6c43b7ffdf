"""The modes that infer which fields act."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from ffrl.config import OptimizerConfig, RunConfig, StillConfig, TrainingPhase
from ffrl.core.errors import UserError, require
from ffrl.core.homes import deferred
from ffrl.models.mode import Mode
from stf.config.discovery import DiscoveryConfig, DiscoveryPhase, RediscoveryConfig, RefineConfig, RefinePhase
from stf.config.joint import JointConfig
from stf.config.sparsity import SparsityConfig
from stf.fields.config import SPARE, SparseModelConfig, require_potentials


@dataclass(frozen=True)
class SearchingConfig(RunConfig):
    """What the modes share whose fields are searched for on encoded sequences."""

    spare_fields = SPARE
    steps: int = 8500
    """Steps of all phases; those of the discovery are steps of expectation-maximisation on encoded sequences."""
    still: StillConfig = field(default_factory=lambda: StillConfig(fraction=0.54))
    model: SparseModelConfig = field(default_factory=lambda: SparseModelConfig(integrator="rk4"))
    discovery: DiscoveryConfig = field(default_factory=lambda: DiscoveryConfig(fraction=0.11))
    joint: JointConfig = field(default_factory=JointConfig)
    rediscovery: RediscoveryConfig = field(default_factory=lambda: RediscoveryConfig(fraction=0.18, after=0.04))
    refine: RefineConfig = field(default_factory=RefineConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(field_factor=1.0))
    """Fields that were found only have to follow the codes: at a larger rate they outgrow their unit of speed."""

    @property
    def schedule(self) -> tuple[TrainingPhase, ...]:
        """Still frames, discovery, joint training, refinement; a second search, if there is one, divides the third."""
        still, _ = super().schedule
        before, again = self.rediscovery.shares(self.discovery)
        found, refined = self.discovery.fraction, self.refine.fraction
        joint = TrainingPhase(
            "joint", 1.0 - still.fraction - found - before - again - refined, None, "joint training ends"
        )
        second = (
            TrainingPhase("first-joint", before, None, "first joint training ends"),
            DiscoveryPhase("rediscovery", again, 1, "rediscovery ends"),
        )
        first = DiscoveryPhase("discovery", found, 1, "discovery ends")
        return (still, first, *(second if again else ()), joint, RefinePhase("refine", refined, 1, "refinement ends"))

    def for_large_images(self) -> Self:
        """The configuration for large images: other networks, smaller batches, more and longer phases, smoother codes.

        The likelihood of an image grows with its pixels, the KL of its latent does not: at its own weight the codes of
        still frames are so sharp and curved that no smooth field follows them. Where a step is a large part of an
        orbit, the unit of speed is held less firmly, or the refinement breaks fields.
        """
        found = super().for_large_images()
        still = replace(found.still, fraction=0.286, latent_weight=4.0)
        discovery, refine = replace(found.discovery, fraction=0.099), replace(found.refine, fraction=0.046, unit=10.0)
        again = RediscoveryConfig(fraction=0.168, after=0.061, starts=3)
        return replace(found, steps=10500, still=still, discovery=discovery, rediscovery=again, refine=refine)

    def __post_init__(self) -> None:
        kind = type(self.model).__name__
        require(isinstance(self.model, SparseModelConfig), "model", kind, "a SparseModelConfig")
        super().__post_init__()
        require_potentials(self)
        others = self.still.fraction + sum(self.rediscovery.shares(self.discovery)) + self.refine.fraction
        if others >= 1.0:
            raise UserError(f"still, rediscovery, refine: found fractions that sum to {others:g}, expected below 1")
        expected = f"below {1 - others:g}, what the fractions of still, rediscovery and refine leave"
        require(self.discovery.fraction + others < 1.0, "discovery.fraction", self.discovery.fraction, expected)


@dataclass(frozen=True)
class WeakConfig(SearchingConfig):
    """Weakly supervised: one transformation acts throughout each sequence, but which one is inferred."""

    sequences = "single"
    mode: Literal["weak"] = "weak"
    discovery: DiscoveryConfig = field(default_factory=lambda: DiscoveryConfig(fraction=0.11, held_out=800))
    """Moves are judged by the first transitions of the held-out sequences alone, of which there are more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = "single, as one field acts throughout"
        require(self.model.control == "single", "model.control", self.model.control, expected)


@dataclass(frozen=True)
class UnsupervisedConfig(SearchingConfig):
    """Unsupervised: which fields act, when, and how fast is inferred from the frames alone."""

    mode: Literal["unsupervised"] = "unsupervised"
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)


UNSUPERVISED = Mode(UnsupervisedConfig, deferred("stf.models.unsupervised:unsupervised"))
"""Sparse transformation flow, whose activity is inferred."""
WEAK = Mode(WeakConfig, deferred("stf.models.weak:weak"))
"""FFRL, weakly supervised."""
