"""The unsupervised model: sparse sums of fields, and which of them act is inferred."""

from __future__ import annotations

from ffrl.models.autoencoder import Networks
from stf.config import UnsupervisedConfig
from stf.inference.prior import ActivityPrior
from stf.models.sparse_flow import SparseTransformationFlow


def unsupervised(config: UnsupervisedConfig, networks: Networks) -> SparseTransformationFlow:
    r"""v = sum_k g^k (grad u^k + r^k) with spike-and-slab activity, inferred exactly, sparse and graded.

    Example:
        >>> from ffrl.models.autoencoder import build_networks
        >>> config = UnsupervisedConfig()
        >>> unsupervised(config, build_networks(config.model, (3, 28, 28))).num_controls
        6
    """
    given = config.sparsity
    prior = ActivityPrior(given.slab, given.slab_spread, given.most, given.enumerated)
    return SparseTransformationFlow.of(config, networks, prior, given)
