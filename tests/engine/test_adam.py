"""Adam as PyTorch's optimiser has it, without what that loads."""

from __future__ import annotations

import subprocess
import sys

import torch

from napari_dip.engine.adam import Adam

FIT = """
import sys, numpy as np, napari_dip as dip
prior = dip.Prior(network=dip.Skip(down=(8,), up=8))
dip.restore(np.random.default_rng(0).random((24, 24)), prior=prior, stop=dip.FixedSteps(2))
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""


def shapes(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in ((3, 2), (5,), ())]


def test_it_moves_weights_as_pytorchs_optimiser_does():
    ours, theirs = ([torch.nn.Parameter(one) for one in shapes(0)] for _ in range(2))
    adam, reference = Adam(ours, 0.01), torch.optim.Adam(theirs, lr=0.01, fused=True)
    for step in range(5):
        for parameters in (ours, theirs):
            for one, gradient in zip(parameters, shapes(step), strict=True):
                one.grad = gradient
        adam.step(), reference.step()
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert not any(torch.equal(one, start) for one, start in zip(ours, shapes(0), strict=True))


def test_what_has_no_gradient_stays():
    still, moved = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    adam = Adam([still, moved], 0.1)
    adam.step()
    assert torch.equal(moved, torch.ones(2)), "nothing has one yet"
    moved.grad = torch.ones(2)
    adam.step()
    assert torch.equal(still, torch.ones(2))
    assert torch.allclose(moved, torch.full((2,), 0.9))
    adam.forget_gradients()
    assert moved.grad is None


def test_it_goes_on_from_copied_moments_as_if_nothing_had_been():
    parameter = torch.nn.Parameter(torch.zeros(3))
    adam, ends = Adam([parameter], 0.1), []
    parameter.grad = torch.tensor([1.0, -2.0, 3.0])
    adam.step()
    moments, start = adam.moments.copied(), parameter.detach().clone()
    for _ in range(2):
        adam.step()
        ends.append(parameter.detach().clone())
        adam.moments = moments.copied()
        with torch.no_grad():
            parameter.copy_(start)
    assert torch.equal(*ends)


def test_a_fit_loads_no_compiler():
    """It would take seconds, at the first step of every process."""
    done = subprocess.run([sys.executable, "-c", FIT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
