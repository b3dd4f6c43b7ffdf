"""The weakly supervised model: one transformation per sequence, and which one is inferred exactly."""

from __future__ import annotations

from ffrl.models.autoencoder import Networks
from stf.config import SparsityConfig, WeakConfig
from stf.inference.prior import ActivityPrior
from stf.models.sparse_flow import SparseTransformationFlow


def weak(config: WeakConfig, networks: Networks) -> SparseTransformationFlow:
    r"""One field acts at unit speed throughout a sequence (FFRL, weakly supervised).

    The posterior multiplies the evidence of all transitions under a uniform prior over the fields that are alive,

    .. math:: q(k | \bar x) \propto \prod_t N(\Delta_t; V_t^k, \tau_k I).

    Example:
        >>> import torch
        >>> from stf.config.modes import WEAK
        >>> WEAK.build(WeakConfig(), (3, 28, 28)).infer(torch.rand(2, 9, 3, 28, 28)).sum(-1).unique().tolist()
        [1.0]
    """
    prior = ActivityPrior(slab="unit", most=1, constant=True)
    return SparseTransformationFlow.of(config, networks, prior, SparsityConfig(learn_rates=False))
