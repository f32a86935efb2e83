"""When to stop: a rule scores the iterates, the best score is kept, and the fit ends when none is better."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
import torch
from torch import Tensor

from napari_dip.engine.correlation import grown
from napari_dip.engine.estimation import estimate_noise
from napari_dip.engine.fields import Checked
from napari_dip.engine.fit import Iterate
from napari_dip.engine.judges import reach_of_noise
from napari_dip.engine.problem import FEW_HIDDEN, Array, Exposures, Problem, TooLittleKnownError
from napari_dip.engine.sharpness import blur, is_settled, is_steady, planes, relative_sharpness, sharpness

Criterion = Callable[[Iterate], Tensor]
"""Scores an iterate's average: 0-d, stays on the device; lower is better, inf = cannot tell yet."""

MOST_HIDDEN = 0.25  # of the pixels, where their neighbours are hidden with them
SAMPLE = 16384  # elements: enough for the variance of an image, cheap at every step
Steps = Annotated[int, {"min": 1, "unit": "steps"}]


class StoppingRule(Protocol):
    """What every rule of this file is.

    Attributes
    ----------
    every : int
        Steps between scores.
    floor, ceiling : int
        The fit takes at least and at most so many steps.
    patience : int
        The fit ends after so many steps without a better score.
    reveal : float
        Length of a last phase in which held-out pixels are shown, as a share of the best step; 0 for rules that hide
        none. It goes on from the best iterate; with 1 it begins anew, and takes as many steps as were best.
    """

    @property
    def every(self) -> int: ...
    @property
    def floor(self) -> int: ...
    @property
    def ceiling(self) -> int: ...
    @property
    def patience(self) -> int: ...
    @property
    def reveal(self) -> float: ...
    def start(self, problem: Problem, seed: int) -> tuple[Problem, Criterion]:
        """Return the problem as the fit may see it, and the criterion for its iterates."""
        ...


@dataclass(frozen=True)
class HeldOut(Checked):
    """Some of the known pixels are hidden from the fit; their error in the averaged output is the score.

    Noise is independent of what the network has seen elsewhere, so this error falls while structure is learned
    and rises when noise is. Whole pixels are hidden, all channels at once, since channels may share noise. Where the
    noise is correlated (`autocorrelation`), so are the neighbours that would tell of it, and fewer pixels are scored.

    Of several frames of one scene no pixel is hidden: what they tell is parted into two measurements of all pixels,
    whose noise is independent however it is correlated from pixel to pixel. The fit sees one, the other one scores it.

    In the last phase the fit goes on from its best step with all pixels shown; with `reveal=1` it begins anew with
    them, and takes as many steps: where a hidden pixel leaves a gap of many fine ones, what the fit put there stays.
    """

    fraction: Annotated[float, {"min": 0.001, "max": 0.5, "tooltip": "Share of the known pixels"}] = 0.05
    least: Annotated[int, {"min": 1, "unit": "px", "tooltip": "Of a small image more are hidden, a fifth at most"}] = (
        1000
    )
    every: Steps = 10
    floor: Steps = 300
    ceiling: Steps = 6000
    patience: Steps = 200
    reveal: Annotated[
        float,
        {"min": 0.0, "max": 1.0, "tooltip": "Share of the best step, to use all pixels; 1: begin anew with them"},
    ] = 0.1

    def start(self, problem: Problem, seed: int) -> tuple[Problem, Criterion]:
        if not problem.is_judged_by_pixels:
            raise ValueError("Held-out pixels tell nothing of what this task does: take FixedSteps")
        known = problem.known()
        generator = torch.Generator().manual_seed(seed + 0x5EED)
        least = min(self.least, FEW_HIDDEN) if problem.is_finer else self.least
        share = max(self.fraction, min(0.2, least / max(1, int(known.any(0).sum()))))
        if problem.exposures is not None:
            return self._parted(problem, problem.exposures, share)
        down, right = near = reach_of_noise(problem)
        if any(near):
            share = min(share, MOST_HIDDEN / ((2 * down + 1) * (2 * right + 1)))
        drawn = (torch.rand(known.shape[1:], generator=generator) < share).to(known.device)  # (*spatial)
        where = known & drawn
        count = int(where.sum())
        if count < 20 or bool((known & ~where).sum() < count):
            raise TooLittleKnownError(
                f"Too few known pixels to hold some out: {int(known.any(0).sum())} are known, {count} values "
                f"would be hidden; take FixedSteps or a larger fraction than {self.fraction:g}"
            )
        shown = problem.weight if problem.weight is not None else torch.ones_like(problem.y)
        weight = torch.where(grown(drawn, near), 0.0, shown)
        target = problem.y[where]

        def score(iterate: Iterate) -> Tensor:
            nonlocal where, target
            predicted = iterate.forward(iterate.average)
            where, target = where.to(predicted.device), target.to(predicted.device)
            return (predicted[where] - target).square().mean()

        return dataclasses.replace(problem, weight=weight), score

    @staticmethod
    def _parted(problem: Problem, exposures: Exposures, share: float) -> tuple[Problem, Criterion]:
        shown, unseen = exposures.split(problem.y, problem.known(), share)
        if not bool(unseen.where.any()):
            raise TooLittleKnownError("No pixel is known in two frames: there is nothing to compare; take FixedSteps")
        judge = unseen

        def score(iterate: Iterate) -> Tensor:
            nonlocal judge
            predicted = iterate.forward(iterate.average)
            judge = judge.to(predicted.device)
            return (predicted - judge.values)[judge.where].square().mean()

        return dataclasses.replace(problem, y=shown, exposures=None, unseen=unseen), score


@dataclass(frozen=True)
class WindowedVariance(Checked):
    """ES-WMV: the variance of the last outputs, lowest where the fit passes the image on its way to the noise.

    Source: Wang et al., "Early Stopping for Deep Image Prior", arXiv 2112.06074 (window 100, patience 1000).
    """

    window: Annotated[int, {"min": 2, "unit": "steps"}] = 100
    every: Steps = 1
    floor: Steps = 1
    ceiling: Steps = 5000
    patience: Steps = 1000
    reveal: Annotated[float, {"min": 0.0, "max": 0.0, "tooltip": "Nothing is hidden"}] = 0.0

    def start(self, problem: Problem, seed: int) -> tuple[Problem, Criterion]:
        sample = _sample(problem.shape, SAMPLE, seed)
        ring = torch.zeros(self.window, len(sample))

        def score(iterate: Iterate) -> Tensor:
            nonlocal sample, ring
            sample, ring = sample.to(iterate.x.device), ring.to(iterate.x.device)
            ring[iterate.step // self.every % self.window] = iterate.x.flatten()[sample]
            if iterate.step < self.window * self.every:
                return torch.full((), torch.inf)
            return ring.var(0, correction=0).mean()

        return problem, score


@dataclass(frozen=True)
class MovingVariance(Checked):
    """ES-EMV: an exponentially moving variance of the outputs, which needs no memory of them.

    Source: Wang et al., "Early Stopping for Deep Image Prior", arXiv 2112.06074 (weight 0.1, patience 1000).
    """

    weight: Annotated[float, {"min": 0.001, "max": 0.5, "tooltip": "Of the newest output"}] = 0.1
    every: Steps = 1
    floor: Steps = 1
    ceiling: Steps = 5000
    patience: Steps = 1000
    reveal: Annotated[float, {"min": 0.0, "max": 0.0, "tooltip": "Nothing is hidden"}] = 0.0

    def start(self, problem: Problem, seed: int) -> tuple[Problem, Criterion]:
        sample = _sample(problem.shape, SAMPLE, seed)
        mean: Tensor | None = None
        variance = torch.zeros(())
        settled = 10 / self.weight  # steps until the start is forgotten

        def score(iterate: Iterate) -> Tensor:
            nonlocal sample, mean, variance
            sample = sample.to(iterate.x.device)
            x = iterate.x.flatten()[sample]
            if mean is None:
                mean, variance = x.clone(), variance.to(x.device)
            change = x - mean
            mean = mean + self.weight * change
            variance = (1 - self.weight) * (variance + self.weight * change.square().mean())
            return variance if iterate.step >= settled else torch.full((), torch.inf)

        return problem, score


@dataclass(frozen=True)
class Discrepancy(Checked):
    """The averaged output whose residual is as strong as the noise (V. A. Morozov's discrepancy principle, 1966).

    The noise is the task's, or estimated from the image, see `estimate_noise`. Nothing is hidden from the fit.
    """

    factor: Annotated[float, {"min": 0.1, "max": 2.0, "tooltip": "The residual's variance in units of the noise's"}] = (
        1.0
    )
    every: Steps = 10
    floor: Steps = 100
    ceiling: Steps = 6000
    patience: Steps = 200
    reveal: Annotated[float, {"min": 0.0, "max": 0.0, "tooltip": "Nothing is hidden"}] = 0.0

    def start(self, problem: Problem, seed: int) -> tuple[Problem, Criterion]:
        noise = problem.noise or estimate_noise(problem.y, problem.known())
        if noise is None:
            raise ValueError(
                "The noise cannot be told from this image: it has too few blocks of 8 x 8 px that are wholly known; "
                "take HeldOut or FixedSteps"
            )
        y, known, law = problem.y, problem.known(), noise

        def score(iterate: Iterate) -> Tensor:
            nonlocal y, known, law
            predicted = iterate.forward(iterate.average)
            device = predicted.device
            y, known, law = y.to(device), known.to(device), law.to(device)
            relative = (predicted - y).square() / law.variance(predicted).clamp(min=1e-12)
            return ((relative * known).sum() / known.sum() / self.factor).log().abs()

        return problem, score


@dataclass(frozen=True)
class BlurSharpness(Checked):
    """The step where the ratio of blur to sharpness of the outputs stops changing: for networks with spectral control.

    A test of convergence: it does not see noise being learned, which a controlled network must keep from doing. For
    comparison; `SteadyDetail` does not depend on the image's scale and size.

    Source: Shi et al., IJCV 2022, equation 8 (window 100, threshold 0.01).
    """

    window: Annotated[int, {"min": 2, "unit": "steps"}] = 100
    threshold: Annotated[float, {"min": 0.0, "tooltip": "Change of the ratio that counts as none"}] = 0.01
    every: Steps = 1
    floor: Steps = 1
    ceiling: Steps = 10000
    patience: Steps = 1
    reveal: Annotated[float, {"min": 0.0, "max": 0.0, "tooltip": "Nothing is hidden"}] = 0.0

    def start(self, problem: Problem, seed: int) -> tuple[Problem, Criterion]:
        def ratio(x: Tensor) -> Tensor:
            grey = planes(x)
            return blur(grey) / sharpness(grey).clamp(min=1e-20)

        return problem, _settling(ratio, is_settled, 2 * self.window + 1, self.window, self.threshold)


@dataclass(frozen=True)
class SteadyDetail(Checked):
    """The step where the ratio of blur to sharpness changes by a small share only: for networks with spectral control.

    As `BlurSharpness`, but sharpness is relative to the image's contrast and taken over a share of its pixels, and the
    threshold is relative: neither scale nor size of the image matters.
    """

    window: Annotated[int, {"min": 2, "unit": "scores"}] = 20
    threshold: Annotated[float, {"min": 0.0, "max": 1.0, "tooltip": "Relative change that counts as none"}] = 0.01
    every: Steps = 10
    floor: Steps = 500
    ceiling: Steps = 10000
    patience: Steps = 1
    reveal: Annotated[float, {"min": 0.0, "max": 0.0, "tooltip": "Nothing is hidden"}] = 0.0

    def start(self, problem: Problem, seed: int) -> tuple[Problem, Criterion]:
        def ratio(x: Tensor) -> Tensor:
            grey = planes(x)
            return blur(grey) / relative_sharpness(grey).clamp(min=1e-20)

        return problem, _settling(ratio, is_steady, 2 * self.window, self.window, self.threshold, floor=self.floor)


def _settling(
    ratio: Callable[[Tensor], Tensor],
    test: Callable[[Tensor, int, float], Tensor],
    length: int,
    window: int,
    threshold: float,
    *,
    floor: int = 0,
) -> Criterion:
    """Return a criterion that is infinite until the last ratios pass a test, 0 then, and 1 at all later steps.

    The 1 lets a record with fewer scores than were made, replayed, stop soon after.
    """
    ratios = torch.zeros(0)
    met = torch.zeros((), dtype=torch.bool)
    last = 0

    def score(iterate: Iterate) -> Tensor:
        nonlocal ratios, met, last
        device = iterate.x.device
        if iterate.step < last:  # another fit
            ratios, met = torch.zeros(0), torch.zeros((), dtype=torch.bool)
        last = iterate.step
        newest = ratio(iterate.x).float()[None]
        ratios, was_met = torch.cat([ratios.to(device), newest])[-length:], met.to(device)
        if len(ratios) < length or iterate.step < floor:
            return torch.full((), torch.inf, device=device)
        met = was_met | test(ratios, window, threshold)
        return torch.where(was_met, 1.0, torch.where(met, 0.0, torch.inf))

    return score


@dataclass(frozen=True, eq=False)
class OtherExposure(Checked):
    """The averaged output that tells best what another exposure of the same scene shows: its noise is another.

    The other exposure may differ in gain and offset of each channel. For Python only: a form cannot hold an image.

    Parameters
    ----------
    image : array
        Shaped as one frame, or as its spatial axes; of colours the last axis may be the colours.
    """

    image: Array
    every: Steps = 10
    floor: Steps = 100
    ceiling: Steps = 6000
    patience: Steps = 300
    reveal: float = 0.0

    def start(self, problem: Problem, seed: int) -> tuple[Problem, Criterion]:
        other = torch.from_numpy(np.asarray(self.image, np.float32))
        if other.shape == (*problem.y.shape[1:], problem.y.shape[0]):
            other = other.movedim(-1, 0)
        if other.shape not in (problem.y.shape, problem.y.shape[1:]):
            raise ValueError(f"The other exposure has shape {tuple(other.shape)}, a frame {tuple(problem.y.shape)}")
        other = other.expand(problem.y.shape)
        known = problem.known() & torch.isfinite(other).to(problem.y.device)
        values = _centred(other.to(known.device), known)

        def score(iterate: Iterate) -> Tensor:
            nonlocal known, values
            predicted = iterate.forward(iterate.average)
            known, values = known.to(predicted.device), values.to(predicted.device)
            x = _centred(predicted, known)
            explained = (x * values).sum(1).square() / x.square().sum(1).clamp(min=1e-12)
            # what a gain and an offset leave unexplained
            return (1 - explained / values.square().sum(1).clamp(min=1e-12)).mean().float()

        return problem, score


@dataclass(frozen=True)
class FixedSteps(Checked):
    """So many steps, then stop: the averaged output at the end is the result."""

    steps: Steps = 1500
    every: Steps = 10
    reveal: Annotated[float, {"min": 0.0, "max": 0.0, "tooltip": "Nothing is hidden"}] = 0.0

    @property
    def floor(self) -> int:
        return self.steps

    @property
    def ceiling(self) -> int:
        return self.steps

    @property
    def patience(self) -> int:
        return self.steps

    def start(self, problem: Problem, seed: int) -> tuple[Problem, Criterion]:
        return problem, lambda iterate: torch.full((), torch.inf)


def _centred(image: Tensor, known: Tensor) -> Tensor:
    """Return each channel's known elements less their mean, 0 elsewhere, (C, elements), float64."""
    values, counts = (t.flatten(1).double() for t in (torch.where(known, image, 0), known))
    mean = values.sum(1, keepdim=True) / counts.sum(1, keepdim=True).clamp(min=1)
    return (values - mean) * counts


def _sample(shape: tuple[int, ...], most: int, seed: int) -> Tensor:
    """Return at most so many indices into a flattened tensor, without repetition, for a cheap statistic."""
    size = torch.Size(shape).numel()
    if size <= most:
        return torch.arange(size)
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:most]


RULES = (HeldOut, WindowedVariance, MovingVariance, Discrepancy, BlurSharpness, SteadyDetail, FixedSteps)
