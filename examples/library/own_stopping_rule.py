"""Write a stopping rule of your own: the discrepancy principle.

A restored image should differ from the measurement by as much as the noise, neither more nor less. The rule estimates
the noise from the measurement, and scores each averaged output by how far its difference is from that. It is a frozen
dataclass of five fields and one method, and works with every task.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

import napari_dip as dip
from napari_dip import samples


@dataclass(frozen=True)
class AsStrongAsNoise:
    """The averaged output whose difference from the measurement is as strong as the noise."""

    every: int = 5
    floor: int = 20
    ceiling: int = 3000
    patience: int = 100
    reveal: float = 0.0  # nothing is hidden from the fit, so there is nothing to show it at the end

    def start(self, problem: dip.Problem, seed: int) -> tuple[dip.Problem, Callable[[dip.Iterate], Tensor]]:
        known = problem.known()
        noise = noise_level(problem.y, known)

        def score(iterate: dip.Iterate) -> Tensor:
            difference = iterate.forward(iterate.average) - problem.y.to(iterate.average.device)
            return (difference[known.to(difference.device)].std() - noise).abs()

        return problem, score


def noise_level(y: Tensor, known: Tensor) -> Tensor:
    """Return the standard deviation of white noise, from differences of neighbours: most of them are noise alone."""
    differences = (y[..., 1:] - y[..., :-1])[known[..., 1:] & known[..., :-1]]
    return 1.4826 * (differences - differences.median()).abs().median() / 2**0.5


image = samples.micrograph().image[100:148, 100:148]
result = dip.restore(image, stop=AsStrongAsNoise(), max_steps=40)
print(f"kept step {result.best_step}: {result.ended}")
print(f"the rule is in the report: {result.report()['settings']['stop']}")
