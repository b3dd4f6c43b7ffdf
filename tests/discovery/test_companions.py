"""Fields that act together: parts of one transformation, and what one field in the place of two has to lose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from discovery_tools import helmholtz, line, planted, rotation, setting

from stf.discovery.companions import COMPANIONS, PART, companions, least_missed
from stf.discovery.measures import joint_rates
from stf.discovery.population import Population


def rates(on: np.ndarray) -> torch.Tensor:
    """Joint rates of spikes ``(N, K)``."""
    return torch.tensor(on.T @ on / len(on))


def spikes(*probability: float, seed: int = 0, count: int = 4000) -> np.ndarray:
    """Independent spikes."""
    return (np.random.default_rng(seed).random((count, len(probability))) < probability).astype(float)


def test_fields_that_are_nearly_always_on_together_are_companions():
    on = spikes(0.4, 0.4, 0.1)
    on[:, 1] = np.where(spikes(0.05, seed=1)[:, 0] > 0, 1 - on[:, 0], on[:, 0])
    jaccard = (on[:, 0] * on[:, 1]).sum() / np.maximum(on[:, 0], on[:, 1]).sum()
    assert jaccard > COMPANIONS
    assert companions(rates(on)).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_fields_that_are_never_on_have_no_companions():
    assert companions(torch.zeros(3, 3)).tolist() == torch.eye(3).tolist()
    assert least_missed(torch.zeros(3, 3)).tolist() == torch.ones(3, 3).tolist()


@pytest.mark.parametrize("probability", [(0.1, 0.1), (0.5, 0.5), (0.7, 0.7)])
def test_what_one_field_misses_is_the_smaller_principal_part(probability):
    """Of two orthogonal unit displacements the best direction leaves the smaller eigenvalue of their second moments."""
    on = spikes(*probability)
    left = np.linalg.eigvalsh(on.T @ on / len(on))[0]
    expected = left / min(on.mean(0))
    assert float(least_missed(rates(on))[0, 1]) == pytest.approx(expected, abs=0.02)


def test_a_part_of_another_field_has_all_to_lose():
    on = spikes(0.6, 0.5)
    on[:, 1] *= on[:, 0]
    joint = rates(on)
    assert joint[0, 1] >= PART * joint[1, 1]
    assert least_missed(joint).tolist() == torch.ones(2, 2).tolist()


def test_joint_rates_count_spikes():
    true = [rotation(0, 1), line(2)]
    data = planted(true, 40, 0, independent=True)
    fields = helmholtz(2)
    population = Population(fields, torch.ones(1, 2), torch.ones(1), setting())
    found = population.infer(data.encoded, population.velocities(data.encoded), population.alive, torch.tensor([0.3]))
    on = found.probability.flatten(0, 1)
    expected = on.T @ on / len(on)
    expected.fill_diagonal_(0).add_(torch.diag(on.mean(0)))
    torch.testing.assert_close(joint_rates(population, data.encoded, torch.tensor(0.3), chunk=7), expected)
