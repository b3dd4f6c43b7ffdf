"""The phases in which fields are learnt on encoded sequences."""

from __future__ import annotations

from dataclasses import dataclass

from ffrl.config import TrainingPhase
from ffrl.config.checks import at_least, non_negative, positive
from ffrl.core.errors import require


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
    """Random starts that form side by side; the one with the largest held-out log evidence goes on.

    Of the first search; the second one has its own."""
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
    """Merges that are tried at once, and one more for every field beyond nine."""
    deletions: int = 2
    """Deletions that are tried at once, and one more for every field beyond nine."""
    extra: int = 2
    """Empty places that a refill fills at most."""
    accept: float = 0.3
    """Accept a move that loses less than this share of the log evidence that the lack of its field costs at first."""
    accept_longer: float = 0.4
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
            at_least("discovery." + key.replace("_", "-"), getattr(self, key), 1)
        for key in ("rounds", "deletions", "extra"):
            at_least("discovery." + key, getattr(self, key), 0)
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
            non_negative("discovery." + key.replace("_", "-"), getattr(self, key))
        for key in ("temper", "trial_temper"):
            value = getattr(self, key)
            require(0.0 < value <= 1.0, "discovery." + key.replace("_", "-"), value, "a number in (0, 1]")
        for key in ("learning_rate", "pair_learning_rate"):
            positive("discovery." + key.replace("_", "-"), getattr(self, key))


@dataclass(frozen=True)
class DiscoveryPhase(TrainingPhase):
    """The phase in which the fields are learnt on encoded sequences, with the encoder held."""

    by_gradient = False
    home = "stf.discovery.runner:DiscoveryRunner"


@dataclass(frozen=True)
class RediscoveryConfig:
    """A second search, from fresh fields, on the codes that some joint training has shaped.

    Codes of frames that stood alone may be too rough for the search, or let fields pass that mix transformations: that
    a flow has to pass through them makes them smooth, even if its fields are the wrong ones.
    """

    fraction: float = 0.0
    """Share of the steps that it takes; 0 leaves it out, and so does a discovery of 0."""
    after: float = 0.08
    """Share of the steps of the joint training before it."""
    starts: int = 1
    """Random starts that form side by side; the one with the largest held-out log evidence goes on."""

    def __post_init__(self) -> None:
        for key in ("fraction", "after"):
            value = getattr(self, key)
            require(0.0 <= value < 1.0, "rediscovery." + key, value, "a number in [0, 1)")
        at_least("rediscovery.starts", self.starts, 1)

    def shares(self, discovery: DiscoveryConfig) -> tuple[float, float]:
        """Shares of the steps of the joint training before it and of the search; none where nothing was searched for.

        Example:
            >>> RediscoveryConfig(0.1).shares(DiscoveryConfig()), RediscoveryConfig(0.1).shares(DiscoveryConfig(0.0))
            ((0.08, 0.1), (0.0, 0.0))
        """
        return (self.after, self.fraction) if self.fraction and discovery.fraction else (0.0, 0.0)


@dataclass(frozen=True)
class RefinePhase(TrainingPhase):
    """The phase in which the fields that were found catch up with the codes that joint training has left."""

    by_gradient = False
    home = "stf.discovery.runner:RefineRunner"


@dataclass(frozen=True)
class RefineConfig:
    """Last phase of training: the fields are fitted to the final codes, as in the discovery but without moves."""

    fraction: float = 0.06
    """Share of the steps that this phase takes; 0 leaves it out."""
    rollout: float = 0.3
    """Weight of the misfit along rollouts beside that between codes: the one is for predictions, the other for the
    inference of activity."""
    unit: float = 60.0
    """Weight of what holds the unit of speed, so that it is the same everywhere on an orbit."""
    learning_rate: float = 1.5e-3
    """Peak learning rate of Adam."""

    def __post_init__(self) -> None:
        require(0.0 <= self.fraction < 1.0, "refine.fraction", self.fraction, "a number in [0, 1)")
        non_negative("refine.rollout", self.rollout)
        non_negative("refine.unit", self.unit)
        positive("refine.learning-rate", self.learning_rate)
