"""Adam, by PyTorch's function of that name."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam

BETAS = (0.9, 0.999)
EPSILON = 1e-8


@dataclass(eq=False)
class Moments:
    """The running means that Adam keeps of each parameter's gradient and of its square, and its steps."""

    mean: list[Tensor]
    square: list[Tensor]
    steps: list[Tensor]  # 0-d each

    def copied(self) -> Moments:
        return copy.deepcopy(self)


class Adam:
    """Adam with its usual constants (Kingma and Ba, arXiv 1412.6980), all parameters with one rate.

    `torch.optim.Adam` does the same, but loads PyTorch's compiler with its first step: 800 modules, which take seconds
    and let a window stand still meanwhile.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float):
        self.parameters, self.rate = list(parameters), rate
        self.is_fused = all(one.device.type != "mps" for one in self.parameters)
        mean, square = ([torch.zeros_like(one) for one in self.parameters] for _ in range(2))
        self.moments = Moments(mean, square, self.counts())

    def counts(self) -> list[Tensor]:
        """Return a count of steps for each parameter, on the device where the function wants it."""
        return [torch.zeros((), device=one.device if self.is_fused else "cpu") for one in self.parameters]

    def forget_gradients(self) -> None:
        for one in self.parameters:
            one.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        moments = self.moments
        rows = zip(self.parameters, moments.mean, moments.square, moments.steps, strict=True)
        moved = [(one, one.grad, *kept) for one, *kept in rows if one.grad is not None]
        if not moved:
            return
        parameters, gradients, mean, square, steps = map(list, zip(*moved, strict=True))
        adam(
            parameters, gradients, mean, square, [], steps, fused=self.is_fused, amsgrad=False, beta1=BETAS[0],
            beta2=BETAS[1], lr=self.rate, weight_decay=0.0, eps=EPSILON, maximize=False,
        )  # fmt: skip
