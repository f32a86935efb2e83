"""Every network: any size, seed-exact, differentiable, and the published one as published."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_dip import NETWORKS, Skip
from napari_dip.engine.modules import Conv, Norm
from napari_dip.engine.networks import halvings, initialise

CPU = torch.device("cpu")


def built(network, spatial, *, inputs=8, outputs=3, seed=0):
    module = network.build(inputs, outputs, spatial)
    return initialise(module, torch.Generator().manual_seed(seed), CPU)


VARIANTS = [
    *(kind() for kind in NETWORKS),
    Skip.published(),
    Skip(down=(8, 16, 32), up=(8, 16, 32), skip=(0, 4, 4), kernel_down=5, upsampling=("nearest", "linear", "nearest")),
    Skip(down=(8, 8), up=8, skip=0, downsampling="average", mix=False, padding="reflect"),
]


@pytest.mark.parametrize("network", VARIANTS, ids=range(len(VARIANTS)))
@pytest.mark.parametrize("spatial", [(16, 16), (17, 31), (64, 40), (8, 9)])
def test_output_has_the_size_of_the_image_and_every_weight_a_gradient(network, spatial):
    module = built(network, spatial)
    z = torch.rand(1, 8, *spatial)
    x = module(z)
    assert x.shape == (1, 3, *spatial)
    (x - 0.3).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())


@pytest.mark.parametrize("network", VARIANTS, ids=range(len(VARIANTS)))
def test_volumes_too(network):
    spatial = (9, 16, 18)
    assert built(network, spatial)(torch.rand(1, 8, *spatial)).shape == (1, 3, *spatial)


@pytest.mark.parametrize("network", VARIANTS, ids=range(len(VARIANTS)))
def test_a_seed_gives_the_same_weights_and_moves_nothing_global(network):
    before = torch.get_rng_state()
    first, second, other = (built(network, (32, 32), seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("network", VARIANTS, ids=range(len(VARIANTS)))
def test_a_batch_gives_what_its_samples_give_alone(network):
    module = built(network, (16, 24))
    z = torch.rand(3, 8, 16, 24)
    alone = torch.cat([module(one[None]) for one in z])
    assert torch.allclose(module(z), alone, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_are_normalised_apart_as_they_would_be_joined(samples, layout):
    norm = Norm(16)
    nn.init.uniform_(norm.weight), nn.init.uniform_(norm.bias)
    parts = [torch.rand(samples, channels, 6, 7).to(memory_format=layout).requires_grad_() for channels in (4, 12)]
    apart, together = norm(*parts), norm(torch.cat(parts, 1))
    assert apart.is_contiguous(memory_format=layout)
    assert torch.allclose(apart, together, atol=1e-5)
    of_apart, of_together = (
        torch.autograd.grad((x * x.detach().cos()).sum(), [*parts, norm.weight, norm.bias]) for x in (apart, together)
    )
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(of_apart, of_together, strict=True))


def test_published_network_has_the_published_number_of_parameters():
    """2,217,831 with 32 input channels and 3 output channels (counted on the description of the recipe)."""
    module = Skip.published().build(32, 3, (512, 512))
    assert sum(p.numel() for p in module.parameters()) == 2_217_831


def test_published_network_is_what_plain_pytorch_gives():
    """One level of the recipe, written out with torch.nn, has the same output for the same weights."""
    spec = Skip(down=(6,), up=5, skip=2, padding="reflect", sigmoid=True)
    ours = built(spec, (12, 16), inputs=4)

    def conv(i, o, k, stride=1):
        return nn.Conv2d(i, o, k, stride, k // 2, padding_mode="reflect")

    def act():
        return nn.LeakyReLU(0.2)

    down = nn.Sequential(conv(4, 6, 3, 2), nn.BatchNorm2d(6), act(), conv(6, 6, 3), nn.BatchNorm2d(6), act())
    skip = nn.Sequential(conv(4, 2, 1), nn.BatchNorm2d(2), act())
    up = nn.Sequential(
        nn.BatchNorm2d(8), conv(8, 5, 3), nn.BatchNorm2d(5), act(), conv(5, 5, 1), nn.BatchNorm2d(5), act()
    )
    head = conv(5, 3, 1)
    order = [m for m in ours.modules() if isinstance(m, Conv | Norm)]
    theirs = [m for part in (down, skip, up, head) for m in part.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    assert len(order) == len(theirs)
    for mine, plain in zip(order, theirs, strict=True):
        plain.weight.data, plain.bias.data = mine.weight.data, mine.bias.data
    z = torch.rand(1, 4, 12, 16)
    x = torch.cat([skip(z), nn.Upsample(scale_factor=2, mode="bilinear")(down(z))], 1)
    assert torch.allclose(ours(z), torch.sigmoid(head(up(x))), atol=1e-5)


def test_depth_falls_until_the_deepest_map_has_four_pixels_a_side():
    assert [len(halvings((side, 64))) for side in (4, 7, 8, 16, 31, 32, 300)] == [0, 0, 1, 2, 2, 3, 4]


def test_coarse_voxels_are_halved_later_until_they_are_about_cubes():
    assert halvings((32, 128, 128), (3, 1, 1)) == [(1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)]
    assert halvings((64, 64, 64), (1, 1, 1)) == halvings((64, 64, 64)) == [(2, 2, 2)] * 4
    assert halvings((64, 64, 64), (0.3, 0.1, 0.1)) == halvings((64, 64, 64), (3, 1, 1)), "the unit does not matter"


def test_few_planes_end_the_halving_of_their_own_axis_only():
    assert halvings((8, 128, 128)) == [(2, 2, 2)] + [(1, 2, 2)] * 4
    assert halvings((7, 64, 64), (2, 1, 1)) == [(1, 2, 2)] * 4


@pytest.mark.parametrize("network", VARIANTS, ids=range(len(VARIANTS)))
@pytest.mark.parametrize("spatial", [(8, 32, 33), (13, 24, 17)])
def test_any_voxels_give_the_size_of_the_volume_and_every_weight_a_gradient(network, spatial):
    module = initialise(network.build(8, 3, spatial, (2.5, 1, 1)), torch.Generator().manual_seed(0), CPU)
    x = module(torch.rand(1, 8, *spatial))
    assert x.shape == (1, 3, *spatial)
    (x - 0.3).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())


def test_coarse_planes_are_not_mixed_before_the_others_have_caught_up():
    """A pixel reaches as far along Z as along X in world units, not in planes: at the first levels Z is not halved."""
    module = Skip(down=(4, 4), up=4, skip=0, upsampling="nearest").build(1, 1, (16, 32, 32), (4, 1, 1))
    strides = [part.stride for part in module.modules() if isinstance(part, Conv) and part.stride != 1]
    assert strides == [(1, 2, 2), (1, 2, 2)]


def test_options_per_level_must_fit_the_levels():
    with pytest.raises(ValueError, match=r"skip has 3 values for 5 levels"):
        Skip(skip=(1, 2, 3))
