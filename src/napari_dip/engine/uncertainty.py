"""How far a restored image may be off because of the noise: a standard deviation, and images that differ by it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_dip.engine.bands import bands, blurred
from napari_dip.engine.pilot import Pilot

AREA = 3.0  # px: standard deviation of the Gaussian over which squared errors are averaged
SHIFT = 6  # px, at most: by which a drawn error is moved, so that draws differ
FROM_NOISE, FROM_STARTS, FROM_METHODS = 1.0, 3.1, 1.2  # shares in the variance, fitted to errors that were known
SURE = 3.0  # standard errors by which held-out pixels must speak against the variance to be heard
HIDDEN = 3.0  # times the variance of others that held-out pixels may err by: their own value was not seen
UNSURE = 0.05  # of the noise's variance, which is not told more exactly
TINY = 1e-20


@dataclass(frozen=True, eq=False)
class Spread:
    """The noise's part in the error of a frame.

    Attributes
    ----------
    fields : Tensor
        (fields, C, *spatial), scaled: each has the texture and the strength of one kind of error.
    """

    fields: Tensor

    @property
    def variance(self) -> Tensor:
        """Of the estimate, (C, *spatial): the local mean of the fields' squares, summed."""
        return _local(self.fields.square().sum(0))

    def draw(self, count: int, seed: int) -> Tensor:
        """Return errors that the estimate may have, (count, C, *spatial): as strong and as fine as its own."""
        generator = torch.Generator().manual_seed(seed)
        variance = self.variance
        return torch.stack([self._one(variance, generator) for _ in range(count)])

    def _one(self, variance: Tensor, generator: torch.Generator) -> Tensor:
        strengths = torch.randn(len(self.fields), generator=generator).tolist()
        plane = (variance.ndim - 2, variance.ndim - 1)
        mixed = torch.zeros_like(variance)
        for field, strength in zip(self.fields, strengths, strict=True):
            down, right = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
            mixed += strength * field.roll((down, right), plane)
        drawn = mixed / _local(mixed.square()).clamp(min=TINY).sqrt()
        return drawn * (variance / drawn.square().mean()).sqrt()


def why_no_std(fits: int, *, has_pilot: bool, is_judged: bool = True, is_correlated: bool = False) -> str:
    """Return why no standard deviation can be given, in words; empty: it can.

    Parameters
    ----------
    fits : int
        That there are to be compared.
    has_pilot : bool
        Whether there is a pilot beside them.
    is_judged : bool
        Whether held-out pixels tell how good the result is.
    is_correlated : bool
        Whether the noise is, from pixel to pixel.
    """
    if not has_pilot:
        return "there is no pilot to compare the fits with"
    if not is_judged:
        return "held-out pixels tell nothing of what this task does"
    if is_correlated:
        return "the noise is correlated from pixel to pixel"
    return "there is one fit only, and no other one to compare it with" if fits < 2 else ""


def spread_of(
    pilot: Pilot,
    outputs: Tensor,
    mean: Tensor,
    unseen: Tensor,
    weights: tuple[float, ...],
    left: Tensor | float = 1.0,
) -> Spread:
    """Return the spread of what a pilot and several fits make together.

    Three things tell of the error: how the pilot follows a change of the measurement as strong as its noise; by how
    much fits with other starts differ; and by how much their mean differs from the pilot. The first two go by their
    weights in each band. Their local mean squares are summed with fixed shares that were fitted to errors that were
    known. So far, what was measured is nowhere less certain than its measurement; where held-out pixels err by more
    than can be explained so, all of it is raised to what they say.

    Parameters
    ----------
    pilot : Pilot
    outputs : Tensor
        What the fits gave, two or more, (fits, C, *spatial).
    mean, unseen : Tensor
        Their sum by their shares, and that of what they gave before they saw the held-out elements, (C, *spatial).
    weights : tuple of float
        The pilot's weight in each band.
    left : Tensor or float
        How far the fits count, 0 to 1, (C, *spatial): where they do not, the pilot has all the weight.
    """
    each = (2 / (len(outputs) - 1)) ** 0.5
    fields = [FROM_NOISE**0.5 * (pilot.response + left * (_weighted(pilot.response, weights) - pilot.response))]
    others = tuple(1 - weight for weight in weights)
    fields += [FROM_STARTS**0.5 * _weighted(each * (output - mean), others) for output in outputs]
    fields.append(FROM_METHODS**0.5 * (mean - pilot.estimate))
    spread = Spread(torch.stack(fields))
    excess = spread.variance / pilot.noise.variance(pilot.estimate).clamp(min=TINY)
    spread = Spread(spread.fields / torch.where(pilot.known, excess, 1.0).clamp(min=1).sqrt())
    residual = (pilot.target - _mixed(mean, pilot.estimate, weights))[pilot.known].square()
    noise = pilot.target_noise * pilot.noise.variance(pilot.estimate)[pilot.known].clamp(min=TINY)
    most = max(1.0, float((residual / noise).mean()))  # in units of the noise's variance
    return Spread(spread.fields * _raised(spread.variance, pilot, unseen, weights, most) ** 0.5)


def _raised(variance: Tensor, pilot: Pilot, unseen: Tensor, weights: tuple[float, ...], most: float) -> float:
    """Return by how many times the variance is too small at held-out elements; 1 where that may be chance.

    What was not seen errs by more than what was: in the mean the variance is raised to `most` times the noise's, which
    is what the residual allows.
    """
    predicted = _mixed(unseen, pilot.guide, weights)
    noise = pilot.target_noise * pilot.noise.variance(predicted)[pilot.held].clamp(min=TINY)
    excess = float(((pilot.target - predicted)[pilot.held].square() / noise).mean()) - 1
    expected = float((variance[pilot.held] / noise).mean())
    surely = excess - UNSURE - SURE * (2 / len(noise)) ** 0.5
    return max(1.0, min(surely, most) / expected) if surely > HIDDEN * expected > 0 else 1.0


def _mixed(fitted: Tensor, pilot: Tensor, weights: tuple[float, ...]) -> Tensor:
    return fitted + _weighted(pilot - fitted, weights)


def _weighted(image: Tensor, weights: tuple[float, ...]) -> Tensor:
    fine, rest = bands(image)
    return weights[0] * fine + weights[1] * rest


def _local(squares: Tensor) -> Tensor:
    return blurred(squares, AREA, range(1, squares.ndim), "replicate")
