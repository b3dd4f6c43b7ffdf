"""The model class of every baseline, by mode."""

from __future__ import annotations

from ffrl.baselines.factor_vae import FactorVAE
from ffrl.baselines.msp import MSP
from ffrl.baselines.poflow import PoFlow
from ffrl.baselines.slow_vae import SlowVAE
from ffrl.baselines.tvae import TVAE
from ffrl.baselines.vae import BetaVAE, FrameVAE
from ffrl.model import FlowFactorizedVAE

BASELINES: dict[str, type[FlowFactorizedVAE]] = {
    "vae": FrameVAE,
    "beta-vae": BetaVAE,
    "factor-vae": FactorVAE,
    "slow-vae": SlowVAE,
    "tvae": TVAE,
    "poflow": PoFlow,
    "msp": MSP,
}
"""Model class of every baseline; its configuration is in :data:`ffrl.baselines.config.BASELINES`."""
