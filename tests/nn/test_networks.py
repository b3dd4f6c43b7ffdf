"""Encoders and decoders: shapes, gradients, independence of images, precision, starting point, and learning."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffrl.core.errors import UserError
from ffrl.nn.conv import ChannelNorm, patch_side, pyramid
from ffrl.nn.networks import DECODERS, ENCODERS, build_decoder, build_encoder

DIM = 6
ARCHITECTURES = tuple(ENCODERS)
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def networks(architecture: str, side: int = 32, width: int = 16, depth: int = 1) -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(0)
    shape = (3, side, side)
    encoder = build_encoder(architecture, shape, 2 * DIM, width, depth)
    return encoder, build_decoder(architecture, shape, DIM, width, depth)


def images(count: int, side: int = 32, seed: int = 0) -> Tensor:
    """Smooth random images ``(count, 3, side, side)``."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (side, side), mode="bilinear")


def test_encoders_and_decoders_come_in_pairs() -> None:
    assert list(ENCODERS) == list(DECODERS)


@every_architecture
@pytest.mark.parametrize("shape", [(3, s, s) for s in (28, 32, 64, 96, 128)] + [(1, 64, 96), (2, 8, 8)], ids=str)
def test_shapes(architecture: str, shape: tuple[int, int, int]) -> None:
    encoder = build_encoder(architecture, shape, 2 * DIM, 8, 1)
    decoder = build_decoder(architecture, shape, DIM, 8, 1)
    code = encoder(torch.rand(2, *shape))
    assert code.shape == (2, 2 * DIM)
    assert decoder(code[:, :DIM]).shape == (2, *shape)
    assert isinstance(encoder[-1], nn.Linear) and encoder[-1].bias.shape == (2 * DIM,)
    for parameter in [*encoder.parameters(), *decoder.parameters()]:
        assert parameter.is_contiguous(), "checkpoints store contiguous tensors only"


@every_architecture
@pytest.mark.parametrize(("width", "depth"), [(16, 1), (5, 2)])
def test_every_parameter_receives_a_gradient(architecture: str, width: int, depth: int) -> None:
    encoder, decoder = networks(architecture, 28, width, depth)
    mean, log_variance = encoder(images(4, 28)).chunk(2, dim=-1)
    (decoder(mean + log_variance.exp()).sigmoid() - images(4, 28)).abs().sum().backward()
    for network in (encoder, decoder):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 1e-7, name


@every_architecture
def test_more_depth_and_width_are_more_parameters(architecture: str) -> None:
    def count(width: int, depth: int) -> list[int]:
        return [sum(p.numel() for p in network.parameters()) for network in networks(architecture, 32, width, depth)]

    base = count(16, 1)
    assert all(more > less for more, less in zip(count(16, 2), base, strict=True))
    assert all(more > less for more, less in zip(count(32, 1), base, strict=True))


@every_architecture
def test_an_image_is_encoded_and_decoded_alone(architecture: str, float64: None) -> None:
    encoder, decoder = networks(architecture)
    x = images(4)
    changed = x.clone()
    changed[1] = 1 - changed[1]
    first, second = encoder(x), encoder(changed)
    others = torch.tensor([0, 2, 3])
    torch.testing.assert_close(first[others], second[others], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(first[:1], encoder(x[:1]), rtol=1e-12, atol=1e-12)
    assert (first[1] - second[1]).abs().max() > 1e-3
    before, after = (decoder(code[:, :DIM]) for code in (first, second))
    torch.testing.assert_close(before[others], after[others], rtol=1e-12, atol=1e-12)
    assert (before[1] - after[1]).abs().max() > 1e-3


@every_architecture
def test_training_and_evaluation_compute_the_same(architecture: str) -> None:
    encoder, decoder = networks(architecture)
    code = encoder(images(3))
    for _ in range(3):
        encoder(images(8, seed=1))
    assert torch.equal(code, encoder.eval()(images(3)))
    assert torch.equal(decoder(code[:, :DIM]), decoder.eval()(code[:, :DIM]))
    assert not list(encoder.buffers()) and not list(decoder.buffers())


@every_architecture
def test_place_is_not_averaged_away(architecture: str) -> None:
    """A square moved by 8 pixels, which is whole cells of every grid, changes the code as much as its presence does."""
    encoder, _ = networks(architecture)
    x = torch.zeros(5, 3, 32, 32)
    for image, (row, column) in zip(x, [(10, 10), (10, 18), (18, 10), (18, 18)], strict=False):
        image[:, row : row + 4, column : column + 4] = 1.0
    with torch.no_grad():
        codes = encoder(x)
    moved, present = torch.pdist(codes[:4]), (codes[:4] - codes[4]).norm(dim=-1)
    assert moved.min() > 0.7 * present.mean()
    x[:2] = 0.0
    x[0, :, 10:14, 10:14] = x[1, :, 10:14, 11:15] = 1.0
    with torch.no_grad():
        first, second = encoder(x[:2])
    assert (first - second).norm() > 0.1 * present.mean(), "one pixel"


@every_architecture
def test_double_precision(architecture: str) -> None:
    encoder, decoder = networks(architecture)
    code = encoder(images(3))
    image = decoder(code[:, :DIM])
    wide_code = encoder.double()(images(3).double())
    wide_image = decoder.double()(wide_code[:, :DIM])
    assert wide_code.dtype == wide_image.dtype == torch.float64
    torch.testing.assert_close(code.double(), wide_code, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(image.double(), wide_image, rtol=1e-4, atol=1e-5)


@every_architecture
def test_reduced_precision(architecture: str) -> None:
    encoder, decoder = networks(architecture)
    x = images(3)
    expected = decoder(encoder(x)[:, :DIM])
    with torch.autocast("cpu", torch.bfloat16):
        code = encoder(x)
        logits = decoder(code[:, :DIM])
    assert code.dtype == logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, rtol=0.0, atol=0.05)
    logits.float().square().sum().backward()
    for parameter in [*encoder.parameters(), *decoder.parameters()]:
        assert parameter.grad.dtype == torch.float32 and parameter.grad.isfinite().all()


@every_architecture
@pytest.mark.parametrize("side", [28, 64])
def test_first_images_are_grey_and_depend_on_the_code(architecture: str, side: int) -> None:
    _, decoder = networks(architecture, side, width=32, depth=2)
    with torch.no_grad():
        image = decoder(torch.randn(64, DIM, generator=torch.Generator().manual_seed(1))).sigmoid()
    assert abs(image.mean().item() - 0.5) < 0.1
    assert 0.05 < image.min() and image.max() < 0.95
    assert image.std(0).mean() > 0.01


@every_architecture
def test_eight_images_are_learnt(architecture: str) -> None:
    encoder, decoder = networks(architecture, 32)
    x = 0.1 + 0.8 * (images(8) > 0.5)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=3e-3)
    losses = []
    for _ in range(100):
        loss = (decoder(encoder(x)[:, :DIM]).sigmoid() - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4


def test_patches_grow_with_the_image() -> None:
    sides = {28: 4, 32: 4, 36: 4, 48: 8, 64: 8, 96: 12, 112: 16, 128: 16, 256: 32}
    assert {side: patch_side((3, side, side)) for side in sides} == sides
    assert patch_side((3, 64, 128)) == 8 and patch_side((3, 128, 96)) == 16
    tokens = [networks("mixer", side)[0][2].across_tokens.up.shape for side in (28, 64, 128)]
    assert tokens == [(49, 49), (64, 64), (64, 64)]


def test_a_token_is_a_square_of_the_image() -> None:
    """Changing pixels in one 8x8 square of a 64x64 image changes one token of the mixer's stem, the right one."""
    encoder, _ = networks("mixer", 64)
    x = images(1, 64)
    changed = x.clone()
    changed[:, :, 8:16, 24:32] += 0.5
    difference = (encoder[:2](changed) - encoder[:2](x)).abs().sum(-1)[0]
    assert difference.nonzero().flatten().tolist() == [1 * 8 + 3]


def test_stages_of_the_convolution_net() -> None:
    assert pyramid((3, 28, 28), 8) == (2, [(14, 14), (7, 7)], [8, 16])
    assert pyramid((3, 128, 128), 8) == (4, [(32, 32), (16, 16), (8, 8), (4, 4)], [8, 16, 32, 32])
    assert pyramid((1, 64, 96), 8) == (4, [(16, 24), (8, 12), (4, 6)], [8, 16, 32])
    for side, patch in ((32, 4), (64, 8), (128, 16)):
        assert pyramid((3, side, side), 8, coarse=True) == (patch, [(8, 8), (4, 4)], [8, 16])
    assert pyramid((3, 28, 28), 8, coarse=True) == (4, [(7, 7)], [8])


def test_normalisation_is_over_the_channels_of_a_pixel(float64: None) -> None:
    torch.manual_seed(0)
    x, norm = 3 * torch.randn(2, 5, 4, 6) + 1, ChannelNorm(5)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    pixel = x[1, :, 2, 3]
    standard = (pixel - pixel.mean()) / math.sqrt(pixel.var(correction=0) + norm.eps)
    torch.testing.assert_close(norm(x)[1, :, 2, 3], standard * norm.weight + norm.bias)
    assert norm(x.contiguous(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("architecture", ["conv", "conv-coarse"])
def test_convolutions_stay_in_channels_last_order(architecture: str) -> None:
    """From the first convolution to the last, so that nothing is rearranged in between."""
    seen = []

    def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.extend(x.is_contiguous(memory_format=torch.channels_last) for x in (inputs[0], output))

    encoder, decoder = networks(architecture, 64, depth=2)
    for module in [*encoder.modules(), *decoder.modules()]:
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(record)
    decoder(encoder(images(2, 64))[:, :DIM])
    assert len(seen) == 2 * sum(isinstance(m, nn.Conv2d) for m in [*encoder.modules(), *decoder.modules()])
    assert all(seen)


@pytest.mark.parametrize(("architecture", "patch"), [("conv", 4), ("conv-coarse", 8)])
def test_convolutions_begin_without_a_checkerboard(architecture: str, patch: int) -> None:
    """The first images are constant on every patch, and are not constant altogether."""
    _, decoder = networks(architecture, 64)
    with torch.no_grad():
        image = decoder(torch.randn(2, DIM, generator=torch.Generator().manual_seed(1)))
    patches = image.unfold(2, patch, patch).unfold(3, patch, patch)
    torch.testing.assert_close(patches, patches[..., :1, :1].expand_as(patches), rtol=0.0, atol=1e-6)
    assert patches[..., 0, 0].flatten(2).std(-1).min() > 1e-3


@pytest.mark.parametrize("build", [build_encoder, build_decoder])
@pytest.mark.parametrize(
    ("architecture", "height", "breadth", "reason"),
    [
        ("mixer", 30, 30, "30x30 is no multiple of 4x4"),
        ("mixer", 64, 62, "64x62 is no multiple of 4x4"),
        ("conv-coarse", 64, 62, "64x62 is no multiple of 4x4"),
        ("conv-coarse", 44, 44, "44x44 does not halve down to 10x10 or less"),
        ("conv", 29, 29, "29x29 does not halve down to 10x10 or less"),
        ("conv", 44, 44, "44x44 does not halve down to 10x10 or less"),
        ("conv", 66, 64, "66x64 does not halve down to 10x10 or less"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(build: object, architecture: str, height: int, breadth: int, reason: str):
    with pytest.raises(UserError) as refusal:
        build(architecture, (3, height, breadth), DIM, 8, 1)
    assert str(refusal.value) == f"model.architecture: found '{architecture}', expected mlp, since {reason}"


@pytest.mark.parametrize("build", [build_encoder, build_decoder])
def test_unknown_architecture_is_refused(build: object) -> None:
    known = "mlp or mixer or conv or conv-coarse"
    with pytest.raises(UserError, match=f"^model.architecture: found 'transformer', expected {known}$"):
        build("transformer", (3, 32, 32), DIM, 8, 1)
