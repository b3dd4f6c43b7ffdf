"""The unsupervised model: sparse sums of fields, and which of them act is inferred."""

from __future__ import annotations

from ffrl.fields.build import build_fields
from ffrl.models.autoencoder import Networks
from ffrl.models.flow_vae import FlowSettings
from ffrl.models.penalties import regularisers
from stf.config import UnsupervisedConfig
from stf.discovery.population import require_rows
from stf.inference.activity import ExactActivity
from stf.inference.prior import ActivityPrior
from stf.models.divergence import divergence_penalty
from stf.models.sparse_flow import JointSettings, SparseTransformationFlow


def unsupervised(config: UnsupervisedConfig, networks: Networks) -> SparseTransformationFlow:
    r"""v = sum_k g^k (grad u^k + r^k) with spike-and-slab activity, inferred exactly, sparse and graded.

    Example:
        >>> from ffrl.models.autoencoder import build_networks
        >>> config = UnsupervisedConfig()
        >>> unsupervised(config, build_networks(config.model, (3, 28, 28))).num_controls
        6
    """
    fields, sparsity = build_fields(config.model), config.sparsity
    require_rows(config, fields)
    prior = ActivityPrior(sparsity.slab, sparsity.slab_spread, sparsity.most, sparsity.enumerated)
    rates = sparsity.on_rate, sparsity.off_rate
    activity = ExactActivity(fields.num_controls, config.model.latent_dim, prior, *rates, sparsity.learn_rates)
    penalties = [*regularisers(config, fields), *divergence_penalty(config.model, fields)]
    return SparseTransformationFlow(
        networks, fields, activity, FlowSettings.of(config), penalties, JointSettings.of(config)
    )
