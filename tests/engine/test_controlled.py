"""Bounds that hold, up-sampling that keeps constants, and networks that are what they were without control."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch

import napari_dip as dip
from napari_dip.engine.controlled import Cap, Centre, GaussianUp, gram, largest_singular_values
from napari_dip.engine.following import ALLOWANCE, NARROWEST, STRONGEST, WIDEST, follower
from napari_dip.engine.modules import Conv, Norm
from napari_dip.engine.networks import initialise

CPU = torch.device("cpu")
CONTROLLED = dip.SpectralControl(bound=(1.2, 0.8), head=0.5, sigma=(0.5, 1.0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(64, 300), (300, 64), (1, 9), (5, 5), (128, 1152)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_the_largest_singular_value_is_that_of_the_decomposition_or_a_little_more(shape, scale):
    matrix = scale * torch.randn(*shape, generator=generator())
    exact = torch.linalg.svdvals(matrix.double())[0]
    assert exact * (1 - 1e-5) <= largest_singular_values(gram(matrix)[None]) <= exact * 1.003


def test_many_equal_singular_values_are_no_trouble():
    assert 1 - 1e-5 <= largest_singular_values(torch.eye(64)[None]) <= 1.003


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("bound", [0.5, 1.4, 100.0])
def test_a_capped_weight_keeps_its_bound_and_one_within_it_stays_as_it_is(ndim, bound):
    conv = Conv(12, 16, 3, ndim=ndim, bound=bound, gain=math.sqrt(6))
    initialise(conv, generator(), CPU)
    capped = conv.cap(conv.weight)
    before, after = (torch.linalg.svdvals(w.detach().flatten(1))[0] for w in (conv.weight, capped))
    assert after <= bound * (1 + 1e-3)
    assert after >= min(before, bound) * (1 - 4e-3)
    if before < 0.99 * bound:
        assert torch.equal(capped, conv.weight)


@pytest.mark.parametrize(("ndim", "side"), [(2, 16), (3, 8)])
def test_the_operators_norm_is_that_of_the_periodic_convolution(ndim, side):
    """Exactly, by the singular values at every frequency, also while the weights move; and a plain cap is weaker."""
    conv = Conv(6, 8, 3, ndim=ndim, bound=0.9, exact=True)
    initialise(conv, generator(), CPU)
    for _ in range(5):
        spectrum = torch.fft.fftn(conv.cap(conv.weight).detach(), s=[side] * ndim, dim=list(range(2, 2 + ndim)))
        norm = torch.linalg.matrix_norm(spectrum.flatten(2).permute(2, 0, 1), 2).max()
        assert norm <= 0.9 * (1 + 1e-3)
        assert norm >= 0.9 * (1 - 1e-3)
        conv.weight.data += 0.002 * torch.randn(conv.weight.shape, generator=generator())
    spectrum = torch.fft.fftn(Cap(0.9)(conv.weight).detach(), s=[side] * ndim, dim=list(range(2, 2 + ndim)))
    assert torch.linalg.matrix_norm(spectrum.flatten(2).permute(2, 0, 1), 2).max() > 0.9


def test_the_operators_norm_bounds_what_a_convolution_does_to_an_image():
    conv = Conv(4, 4, 3, ndim=2, bound=1.0, exact=True)
    initialise(conv, generator(), CPU)
    x = torch.randn(1, 4, 23, 31, generator=generator(1), requires_grad=True)
    for _ in range(30):  # power iterations through the layer itself, its border included
        y = conv(x) - conv(torch.zeros_like(x))
        (gradient,) = torch.autograd.grad(y.square().sum() / 2, x)
        growth = float(y.detach().norm() / x.detach().norm())
        x = (gradient / gradient.norm()).detach().requires_grad_()
    assert 0.9 < growth <= 1.01


def test_the_gradient_of_a_capped_weight_is_that_of_a_constant_scale():
    conv = Conv(3, 4, 3, ndim=2, bound=0.2)
    initialise(conv, generator(), CPU)
    scale = float(0.2 / conv.cap.norm(conv.weight.detach()))
    conv.cap(conv.weight).sum().backward()
    assert torch.allclose(conv.weight.grad, torch.full_like(conv.weight, scale))


def test_centring_takes_the_mean_and_leaves_the_variance():
    norm = Centre(3)
    torch.nn.init.zeros_(norm.bias)
    x = 5 + 3 * torch.randn(2, 3, 20, 20, generator=generator())
    assert torch.allclose(norm(x).mean((2, 3)), torch.zeros(2, 3), atol=1e-5)
    assert torch.allclose(norm(x).std((2, 3)), x.std((2, 3)))


@pytest.mark.parametrize("spatial", [(5, 8), (4, 3, 6)])
def test_the_gradient_of_centring_is_right(spatial):
    centre = Centre(3).double()
    torch.nn.init.normal_(centre.bias)
    x = torch.randn(2, 3, *spatial, generator=generator(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, bias: torch.func.functional_call(centre, {"bias": bias}, x), (x, centre.bias)
    )


def test_caps_told_together_are_as_each_by_itself():
    network = initialise(dip.Decoder(width=8, depth=2, control=CONTROLLED).build(4, 3, (16, 16)), generator(), CPU)
    caps = [part for part in network.modules() if isinstance(part, Conv)]
    alone = [float(conv.cap.norm(conv.weight.detach())) for conv in caps]
    told = []
    for conv in caps:
        conv.register_forward_pre_hook(lambda conv, _: told.append(float(conv.cap.told)))
    before = network(torch.rand(1, 4, 16, 16, generator=generator()))
    assert told == pytest.approx(alone, rel=1e-5)
    with torch.no_grad():
        caps[0].weight.mul_(3)  # the next pass has it anew, and so has the cap by itself
    after = network(torch.rand(1, 4, 16, 16, generator=generator()))
    assert told[len(caps)] == pytest.approx(3 * alone[0], rel=1e-5)
    assert all(conv.cap.told is None for conv in caps)
    assert not torch.equal(before, after)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 1.3])
@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("spatial", [(5, 8), (7, 6, 3), (1, 1)])
def test_up_sampling_keeps_constants_and_any_size(sigma, factor, spatial):
    up = GaussianUp(sigma, factor)(torch.full((2, 3, *spatial), 0.7))
    assert up.shape == (2, 3, *[factor * n for n in spatial])
    assert torch.allclose(up, torch.full_like(up, 0.7), atol=1e-6)


@pytest.mark.parametrize(("sigma", "images"), [(0.5, 0.03), (0.8, 0.01), (1.5, 0.01)])
def test_the_frequency_response_of_up_sampling_is_gaussian(sigma, images):
    """But for the spectrum's images that a narrow Gaussian leaves: exp(-2 π² σ² (1 - f)²)."""
    n = 64
    for cycles in (0, 2, 5, 9):
        wave = torch.cos(2 * math.pi * cycles / n * torch.arange(n)).expand(1, 1, 4, n)
        middle = GaussianUp(sigma)(wave)[0, 0, 4, 32:96]  # away from the border
        places = (torch.arange(32, 96) + 0.5) / 2 - 0.5
        expected = math.exp(-2 * (math.pi * sigma * cycles / n) ** 2) * torch.cos(2 * math.pi * cycles / n * places)
        assert torch.allclose(middle, expected, atol=images)


def test_a_narrow_gaussian_is_the_nearest_neighbour_and_gradients_are_right():
    x = torch.rand(1, 2, 5, 6, generator=generator(), dtype=torch.float64, requires_grad=True)
    assert torch.allclose(GaussianUp(0.02)(x), torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest"))
    assert torch.autograd.gradcheck(GaussianUp(0.7), x)


def parts(module, kind):
    return [part for part in module.modules() if isinstance(part, kind)]


@pytest.mark.parametrize("network", [dip.Skip(control=CONTROLLED), dip.Decoder(width=12, control=CONTROLLED)])
def test_every_convolution_of_a_controlled_network_has_its_levels_bound(network):
    module = network.build(4, 1, (64, 64))
    convs = parts(module, Conv)
    assert {conv.cap.bound for conv in convs[:-1]} == {1.2, 0.8}
    assert convs[-1].cap.bound == 0.5
    assert not parts(module, Norm)
    assert sorted({up.sigma for up in parts(module, GaussianUp)}) == [0.5, 1.0]
    assert dataclasses.replace(network, control=None) != network
    assert not parts(dataclasses.replace(network, control=None).build(4, 1, (64, 64)), (Cap, Centre, GaussianUp))


def test_without_control_the_network_is_the_one_it_was():
    """Weights and output of Skip() as they were before there was a control, by their sums."""
    module = initialise(dip.Skip(down=(8, 8), up=8).build(4, 1, (20, 20)), generator(3), CPU)
    weights = sum(p.detach().double().abs().sum() for p in module.parameters())
    assert float(weights) == pytest.approx(SKIP_WEIGHTS, rel=1e-12)
    x = module(torch.rand(1, 4, 20, 20, generator=generator(4)))
    assert float(x.detach().double().mean()) == pytest.approx(SKIP_MEAN, rel=1e-6)


SKIP_WEIGHTS, SKIP_MEAN = 345.4842660246213, 0.5550262252986431


def test_the_published_decoder_has_the_published_number_of_parameters_and_input():
    """1,662,339 for 32 input channels and RGB (counted on the description of the recipe)."""
    module = dip.Decoder.published().build(32, 3, (512, 512))
    assert sum(p.numel() for p in module.parameters()) == 1_662_339
    caps = [conv.cap for conv in parts(module, Conv)]
    assert [cap and cap.bound for cap in caps] == [1.4] * 12 + [None]
    z = dip.Fourier().draw(dip.Problem(torch.zeros(3, 64, 50), (3, 64, 50)), generator())
    assert z.shape == (32, 64, 50)
    assert torch.allclose(z[:16].square() + z[16:].square(), torch.ones(16, 64, 50), atol=1e-5)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_controlled_fit_goes_on_from_a_snapshot_as_if_it_had_not_been_interrupted(exact, precision):
    control = dip.SpectralControl(1.0, head=1.0, exact=exact)
    prior = dip.Prior(dip.Decoder(width=8, depth=2, control=control), dip.Fourier(channels=3))
    y = torch.rand(1, 20, 23, generator=generator())
    problem = dip.Problem(y, (1, 20, 23))
    for iterate in itertools.islice(dip.fit(problem, prior, CPU, precision=precision), 12):
        if iterate.step == 5:
            state = iterate.snapshot()
    resumed = next(itertools.islice(dip.fit(problem, prior, CPU, precision=precision, start=state), 6, 7))
    assert resumed.step == iterate.step == 12
    assert torch.equal(resumed.average, iterate.average)
    has_vectors = any("vectors" in name for name in state.weights)
    assert has_vectors == exact


def law_of(variance):
    return dip.NoiseModel(torch.zeros(1), torch.full((1,), variance), torch.full((1,), variance))


def following_of(noise=1.0, correlation=None, dtype=torch.float32):
    """A follower of a cap, for an image of zeros, and the cap."""
    cap = Cap(1.0, adapts=True)
    cap.start(torch.eye(3), generator())
    law = dip.NoiseModel(*(torch.full((1,), value, dtype=dtype) for value in (0.0, noise, noise)), correlation)
    made = follower([cap], dip.Problem(torch.zeros(1, 32, 32), (1, 32, 32), noise=law), whole=None, seed=0)
    assert made is not None
    return made, cap


def test_a_bound_that_follows_narrows_where_the_residual_is_weaker_than_noise_and_stays_within_limits():
    following, cap = following_of()
    for chi2, expected in ((1.0, 1.0), (0.5, None), (0.9, None), (4.0, WIDEST), (1e-3, NARROWEST)):
        before = float(cap.slack)
        for _ in range(1000 if expected else 100):
            following.follow(torch.full((1, 32, 32), chi2**0.5))
        if expected is None:
            assert float(cap.slack) < before
        else:
            assert float(cap.slack) == pytest.approx(expected)


def test_once_held_out_pixels_were_predicted_best_the_residual_is_to_be_as_strong_as_it_was_then():
    following, cap = following_of()
    for power, error in ((0.95, 1.2), (0.9, 1.1), (0.8, 1.3)):
        for _ in range(300):
            following.follow(torch.full((1, 32, 32), power**0.5))
        following.judge(torch.full((1, 32, 32), error**0.5))
    assert float(following.best) == pytest.approx(1.1, rel=1e-4)
    assert float(following.wanted) == pytest.approx(0.9 + ALLOWANCE, abs=2e-3)
    before = float(cap.slack)
    following.follow(torch.full((1, 32, 32), 0.96**0.5))  # weaker than noise, and yet no reason to narrow
    assert float(cap.slack) > before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_never_to_be_much_stronger_than_noise(dtype):
    following, _ = following_of(dtype=dtype)
    following.follow(torch.full((1, 32, 32), 9.0))
    following.judge(torch.ones(1, 32, 32))
    assert float(following.wanted) == pytest.approx(STRONGEST)


def test_a_fall_of_the_held_out_error_that_may_be_chance_moves_nothing():
    following, _ = following_of()
    first, other = torch.randn(2, 1, 32, 32, generator=generator())
    chance = first + 0.1 * other
    chance *= 0.999 * (following.error(first, following.held) / following.error(chance, following.held)).sqrt()
    wanted = []
    for power, predicted in ((0.95, first), (0.9, chance), (0.85, 0.9 * first)):
        for _ in range(300):
            following.follow(torch.full((1, 32, 32), power**0.5))
        following.judge(predicted)
        wanted.append(float(following.wanted))
    assert following.error(chance, following.held) < following.error(first, following.held)
    assert wanted == pytest.approx([0.95 + ALLOWANCE, 0.95 + ALLOWANCE, 0.85 + ALLOWANCE], abs=2e-3)


def test_what_is_held_out_for_the_bounds_the_fit_does_not_see_nor_the_power():
    following, _ = following_of()
    problem = dip.Problem(torch.zeros(1, 32, 32), (1, 32, 32))
    known, held = following.known > 0, following.held > 0
    assert 0.15 < held.float().mean() < 0.25
    assert torch.equal(following.hidden(problem) == 0, held)
    assert not (known & held).any()
    assert bool((known | held).all())


def test_what_a_stopping_rule_hides_judges_the_bounds_too_and_once_it_is_shown_nothing_is_held_out():
    whole = dip.Problem(torch.zeros(1, 32, 32), (1, 32, 32), noise=law_of(1.0))
    seen, _ = dip.HeldOut().start(whole, 0)
    cap = Cap(1.0, adapts=True)
    first, last = (
        follower([cap], problem, whole=whole, seed=0, starts=starts)
        for problem, starts in ((seen, True), (whole, False))
    )
    assert torch.equal(first.held > 0, ~seen.known())
    assert torch.equal(first.hidden(seen), seen.weight)
    assert not last.held.any()
    assert not last.is_due(1000)
    assert bool((last.hidden(whole) == 1).all())


def test_the_power_of_noise_that_depends_on_the_light_is_in_units_of_what_is_predicted():
    law = dip.NoiseModel(torch.ones(1), torch.zeros(1), torch.ones(1))  # variance = intensity
    problem = dip.Problem(torch.zeros(1, 32, 32), (1, 32, 32), noise=law)
    following = follower([Cap(1.0, adapts=True)], problem, whole=None, seed=0)
    for value in (0.5, 2.0):
        predicted = torch.full((1, 32, 32), value)
        assert float(following.error(predicted, following.known)) == pytest.approx(value, rel=1e-4)


def test_without_noise_bounds_widen_until_held_out_pixels_are_predicted_worse():
    cap = Cap(1.0, adapts=True)
    problem = dip.Problem(torch.zeros(1, 16, 16), (1, 32, 32), forward=lambda x: x[:, ::2, ::2], is_image=False)
    following = follower([cap], problem, whole=None, seed=0)
    slack = []
    for residual, error in ((0.1, 0.3), (0.05, 0.2), (0.02, 0.4), (0.02, 0.4)):
        for _ in range(50):
            following.follow(torch.full((1, 16, 16), residual))
        slack.append(float(cap.slack))
        following.judge(torch.full((1, 16, 16), error))
    assert 1 < slack[0] < slack[1] < slack[2] > slack[3]
    assert float(following.best) == pytest.approx(0.2**2, rel=1e-4)


def test_where_noise_is_correlated_nothing_is_held_out_for_the_bounds():
    following, _ = following_of(correlation=torch.ones(1, 1))
    assert not following.held.any()
    assert not following.is_due(1000)


def test_a_fit_lets_its_bounds_follow_the_noise_that_it_is_told():
    """Of the same image: told that there is much noise it narrows them, told of little it widens them."""
    y = torch.rand(1, 32, 32, generator=generator())
    control = dip.SpectralControl(1.0, adapt=True)
    prior = dip.Prior(dip.Decoder(width=8, depth=2, control=control), dip.Fourier(channels=3))
    slack = []
    for variance in (10.0, 1e-4):
        noise = dip.NoiseModel(torch.zeros(1), torch.full((1,), variance), torch.full((1,), variance))
        problem = dip.Problem(y, (1, 32, 32), noise=noise)
        state = next(itertools.islice(dip.fit(problem, prior, CPU), 49, 50)).snapshot()
        slack.append({float(value) for name, value in state.weights.items() if "slack" in name})
    assert [len(values) for values in slack] == [1, 1]
    assert max(slack[0]) < 1 < max(slack[1])


def test_a_fit_whose_bounds_follow_goes_on_from_a_snapshot_as_if_it_had_not_been_interrupted():
    control = dip.SpectralControl(1.0, adapt=True)
    prior = dip.Prior(dip.Decoder(width=8, depth=2, control=control), dip.Fourier(channels=3))
    noise = dip.NoiseModel(torch.zeros(1), torch.full((1,), 0.1), torch.full((1,), 0.1))
    problem = dip.Problem(torch.rand(1, 20, 23, generator=generator()), (1, 20, 23), noise=noise)
    states = {}
    for iterate in itertools.islice(dip.fit(problem, prior, CPU), 230):
        if iterate.step in (215, 230):
            states[iterate.step] = iterate.snapshot()
    resumed = next(itertools.islice(dip.fit(problem, prior, CPU, start=states[215]), 14, 15))
    weights = resumed.snapshot().weights
    assert 0 < float(weights["follower.best"]) < torch.inf
    assert all(torch.equal(weights[name], value) for name, value in states[230].weights.items())


def test_a_run_whose_bounds_follow_noise_that_is_told_from_the_image_goes_through_its_last_phase():
    scene = torch.linspace(0, 6, 64).sin() * torch.linspace(0, 5, 64).cos()[:, None]
    image = (100 * scene + 10 * torch.randn(64, 64, generator=generator())).numpy()
    control = dip.SpectralControl(1.0, adapt=True)
    prior = dip.Prior(dip.Decoder(width=8, depth=2, control=control), dip.Fourier(channels=3))
    result = dip.restore(image, prior=prior, stop=dip.HeldOut(floor=20, ceiling=40, patience=20))
    assert result.fits[0].revealed > 0
    assert result.fits[0].ended == "reached 40 steps"


def test_a_run_whose_bounds_follow_held_out_pixels_alone_goes_through_its_last_phase():
    scene = (torch.linspace(0, 6, 64).sin() * torch.linspace(0, 5, 64).cos()[:, None]).numpy()
    missing = torch.rand(64, 64, generator=generator()).numpy() < 0.5
    control = dip.SpectralControl(1.0, adapt=True)
    prior = dip.Prior(dip.Decoder(width=8, depth=2, control=control), dip.Fourier(channels=3))
    result = dip.restore(scene, dip.Inpaint(missing), prior, dip.HeldOut(floor=20, ceiling=40, patience=20))
    assert result.fits[0].revealed > 0


def test_the_power_begins_with_the_first_residual():
    problem = dip.Problem(torch.zeros(1, 16, 16), (1, 32, 32), forward=lambda x: x[:, ::2, ::2], is_image=False)
    following = follower([Cap(1.0, adapts=True)], problem, whole=None, seed=0)
    following.follow(torch.full((1, 16, 16), 0.03))
    assert float(following.power) == pytest.approx(9e-4, rel=1e-4)


def test_where_neither_noise_nor_pixels_tell_bounds_stay_as_they_are():
    y = torch.rand(1, 20, 20, generator=generator())
    control = dip.SpectralControl(1.0, adapt=True)
    prior = dip.Prior(dip.Decoder(width=8, depth=2, control=control), dip.Fourier(channels=3))
    within = dip.Problem(y, (1, 20, 20), likelihood=Within(), noise=law_of(0.1), pilot_share=0.5)
    state = next(itertools.islice(dip.fit(within, prior, CPU), 19, 20)).snapshot()
    assert {float(value) for name, value in state.weights.items() if "slack" in name} == {1.0}


class Within:
    """A data term that lets residuals be."""

    def __call__(self, predicted, y, weight):
        return ((predicted - y).abs() - 0.1).clamp(min=0).square().mean()


def test_a_bound_keeps_a_fit_from_the_noise(noisy):
    """The same decoder on the same noise: the finest band is learned less where it is bounded more."""
    y = torch.tensor(noisy[None] / 200, dtype=torch.float32)
    problem, finest = dip.Problem(y, tuple(y.shape)), []
    for bound in (None, 0.7):
        network = dip.Decoder(width=16, control=dip.SpectralControl(bound))
        fitted = dip.fit(problem, dip.Prior(network, dip.Fourier()), CPU)
        x = next(itertools.islice(fitted, 249, 250)).average
        finest.append(dip.fbc(x[0].numpy(), y[0].numpy()).magnitude[0, -3:].mean())
    assert finest[1] < 0.5 * finest[0]


def test_a_controlled_network_with_nothing_to_bound_is_refused_in_words():
    with pytest.raises(ValueError, match="bound"):
        dip.SpectralControl(bound=0.0)
    with pytest.raises(ValueError, match="sigma"):
        dip.SpectralControl(sigma=(0.5, -1.0))
