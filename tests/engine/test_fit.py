"""The loop: it falls, it averages, it can be taken up again, it survives divergence, and it fits A's own parameters."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

import napari_dip as dip
from napari_dip.engine.jpeg import compressed
from napari_dip.engine.problem import identity

CPU = torch.device("cpu")
SMALL = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Noise(channels=4))


def problem(y: torch.Tensor, **more) -> dip.Problem:
    return dip.Problem(y, shape=tuple(y.shape), **more)


@pytest.fixture
def y() -> torch.Tensor:
    return torch.rand(1, 20, 23, generator=torch.Generator().manual_seed(0))


def run(prob, prior=SMALL, steps=30, **more):
    return list(itertools.islice(dip.fit(prob, prior, CPU, **more), steps))


def problem_of(task: dip.Task, y: torch.Tensor) -> dip.Problem:
    """Return the problem of a task for random values, which the one that wants a JPEG gets as one."""
    if not isinstance(task, dip.Deblock):
        return task.problem(y)
    if y.ndim > 3:
        pytest.skip("a JPEG file holds no volume")
    offset, gain = 50 * torch.ones(len(y)), 150 * torch.ones(len(y))
    y = (compressed(150 * y + 50, dip.JpegTables.of_quality(50)) - 50) / 150
    return task.problem_in_units(y, torch.ones_like(y, dtype=torch.bool), offset=offset, gain=gain)


@pytest.mark.parametrize("task", [kind() for kind in dip.TASKS], ids=lambda task: type(task).__name__)
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 17, 29), (1, 8, 9, 12)])
def test_every_task_is_differentiable_keeps_the_shape_and_its_loss_falls(task, shape):
    noise = torch.rand(*shape, generator=torch.Generator().manual_seed(0))
    y = 0.2 * noise + torch.linspace(0, 1, shape[-1])  # a fine grid learns white noise alone too slowly for this test
    prob = problem_of(task, y)
    x = torch.rand(*prob.shape, requires_grad=True)
    prob.likelihood(prob.forward(x), prob.y, prob.weight).backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    losses = [float(iterate.loss) for iterate in run(prob, steps=60)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    assert prob.finish(x).shape[0] == shape[0]


@pytest.mark.parametrize("source", [dip.Noise(channels=3), dip.Coordinates()])
def test_every_source_feeds_the_network(source, y):
    assert run(problem(y), dataclasses.replace(SMALL, source=source), steps=2)[-1].x.shape == y.shape


def test_the_average_is_the_mean_at_first_and_exponential_later(y):
    outputs, averages = [], []
    for iterate in itertools.islice(dip.fit(problem(y), dataclasses.replace(SMALL, averaging=0.8), CPU), 8):
        outputs.append(iterate.x.clone())
        averages.append(iterate.average.clone())
    assert torch.allclose(averages[3], torch.stack(outputs[:4]).mean(0), atol=1e-6)
    assert torch.allclose(averages[7], 0.8 * averages[6] + 0.2 * outputs[7], atol=1e-6)


def test_a_fit_goes_on_from_a_snapshot_as_if_it_had_not_been_interrupted(y):
    steps = dip.fit(problem(y), SMALL, CPU, seed=3)
    for iterate in itertools.islice(steps, 15):
        if iterate.step == 7:
            state = iterate.snapshot()
        last = iterate.average.clone()
    resumed = run(problem(y), steps=8, seed=3, start=state)
    assert resumed[-1].step == 15
    assert torch.equal(resumed[-1].average, last)


def test_elements_of_weight_zero_have_no_influence(y):
    weight = torch.ones_like(y)
    weight[:, 3:9] = 0
    other = torch.where(weight > 0, y, torch.full_like(y, 7.0))
    first, second = (run(problem(values, weight=weight))[-1].average for values in (y, other))
    assert torch.equal(first, second)


def test_the_masked_loss_is_the_mean_over_known_elements(y):
    weight = torch.zeros_like(y)
    weight[:, :5] = 1
    loss = dip.LeastSquares()(torch.zeros_like(y), y, weight)
    assert torch.isclose(loss, y[:, :5].square().mean())


def test_parameters_of_the_operator_are_fitted_in_a_copy(y):
    class Gain(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(1.0))

        def forward(self, x):
            return self.gain * x

    operator = Gain()
    last = run(problem(y, forward=operator), steps=40)[-1]
    assert float(operator.gain.detach()) == 1.0
    assert float(last.forward.gain.detach()) != 1.0


def test_divergence_is_rolled_back(y):
    """A network whose weights are blown up once returns to the state before and goes on falling."""
    losses = []
    for iterate in itertools.islice(dip.fit(problem(y), SMALL, CPU), 80):
        losses.append((iterate.step, float(iterate.loss)))
        if iterate.step == 35:
            with torch.no_grad():
                for parameter in iterate._snapshot.__self__.output.network.parameters():
                    parameter.mul_(100)
    after = [loss for step, loss in losses if step > 50]
    assert max(after) < 2 * losses[30][1]
    assert 40 not in [step for step, _ in losses], "the diverged check step is not shown"


def test_a_fit_without_noise_in_its_input_takes_smaller_steps_where_it_diverged_and_normal_ones_after(y):
    """The same steps from the same place would lead to the same end: here to a cliff that only small steps stop at."""
    rates = {}

    class Cliff(nn.Module):
        """Least squares that are lost once for all when a step was too long."""

        def forward(self, predicted, y, weight):
            rate = run_of_it.optimizer.rate if rates else SMALL.learning_rate
            is_over = 50 < run_of_it.step <= 90 and rate > SMALL.learning_rate / 3 if rates else False
            return (predicted - y).square().mean() * (1e6 if is_over else 1)

    still = dataclasses.replace(SMALL, source=dip.Noise(channels=4, jitter=0.0))
    for iterate in itertools.islice(dip.fit(problem(y, likelihood=Cliff()), still, CPU), 150):
        run_of_it = iterate._snapshot.__self__
        rates[iterate.step] = run_of_it.optimizer.rate / SMALL.learning_rate
    assert {rates[step] for step in range(1, 51)} == {1.0}
    assert min(rates.values()) == 0.25
    assert rates[max(rates)] == 1.0


def test_a_rise_that_is_gradual_is_rolled_back_too(y):
    """By 3 dB from look to look, which each look alone would let pass."""
    scale = {"is": 1.0}

    class Rising(nn.Module):
        def forward(self, predicted, y, weight):
            return (predicted - y).square().mean() * scale["is"]

    losses = {}
    for iterate in itertools.islice(dip.fit(problem(y, likelihood=Rising()), SMALL, CPU), 160):
        losses[iterate.step] = float(iterate.loss)
        if 60 < iterate.step <= 120:
            scale["is"] *= 2**0.1
        elif iterate.step > 120:
            scale["is"] = 1.0
    seen = [step for step in range(10, 121, 10) if step in losses]
    assert len(seen) < 12, "a look found that it rose"
    assert max(losses[step] for step in seen) < 10**0.5 * 1.1 * losses[60]


def test_a_data_term_that_comes_to_nothing_has_not_diverged_when_it_rises_again(y):
    """As with the intervals of a JPEG: whatever lies within them costs nothing."""

    def outside(predicted, y, weight):
        return ((predicted - y).abs() - 0.45).clamp(min=0).square().mean()

    losses = {iterate.step: float(iterate.loss) for iterate in run(problem(y, likelihood=outside), steps=400)}
    assert sum(loss < 1e-6 for loss in losses.values()) > 20, "or this shows nothing"
    assert list(losses) == list(range(1, 401)), "nothing is rolled back"


def test_a_fit_that_only_diverges_fails_in_words(y):
    hopeless = dip.Problem(y, shape=tuple(y.shape), forward=lambda x: x * float("nan"))
    with pytest.raises(dip.RestorationError, match="lower the learning rate"):
        run(hopeless, steps=300)


def test_identity_is_the_default_operator(y):
    assert problem(y).forward is identity
    assert identity(y) is y


def test_the_published_recipe_runs(y):
    prior = dip.Prior.published()
    assert run(problem(y.repeat(3, 2, 2)), prior, steps=2)[-1].x.shape == (3, 40, 46)
    assert (prior.source.channels, prior.source.jitter, prior.learning_rate, prior.averaging) == (
        32,
        1 / 30,
        0.01,
        0.99,
    )
