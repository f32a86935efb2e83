"""The width of a point-spread function, told from the image that it blurred."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_dip.engine.backprojection import BackProjection
from napari_dip.engine.convolve import Convolution, margins_of
from napari_dip.engine.problem import Problem
from napari_dip.engine.variation import variations

LOBES = 3  # of the sinc that resamples a kernel
STEP = 0.0525  # between the logarithms of the widths that are tried
NEAR = 4  # such steps on either side are tried: from 19 % less to 23 % more
FAR = range(-13, 14, 2)  # those tried too where the best is near an end: from half to twice the width
INNER = 2  # and those about the best of these
LARGEST = {2: 160, 3: 32}  # px a side of the part of an image that is looked at, by the number of axes
HELD = 0.25  # of the elements
GROUPS = 24  # of held-out elements, each left out once to tell the error
BLOCK = 8  # px a side of the squares whose elements are of one group
VAGUE = 0.05  # standard error of a width by which no PSF is changed
SMALL, SURE = 0.05, 2.0  # of a width's logarithm, and in standard errors: less says nothing against a PSF
HEAVIEST, WORSE = 0.02, 1.01  # the first weight of the variation, and how far past the least error the search goes


@dataclass(frozen=True)
class Width:
    """By what a PSF has to be widened, or narrowed, to predict what an image shows.

    Attributes
    ----------
    factor : float
        1: it predicts best as it is.
    error : float
        Standard error, relative, by chance; not of scenes that are blurred themselves.
    sure : float
        By how many standard errors it predicts better than the PSF as it is.
    is_at_end : bool
        Whether the best is at an end of the widths that were tried, half or twice: then it may be farther.
    is_used : bool
        Whether the PSF was made so wide.
    """

    factor: float
    error: float
    sure: float
    is_at_end: bool = False
    is_used: bool = False

    @property
    def is_told(self) -> bool:
        """Whether the image tells it well enough to change a PSF by it."""
        return not self.is_at_end and self.error < VAGUE

    @property
    def is_suspect(self) -> bool:
        """Whether it speaks against the PSF as it is."""
        return abs(math.log(self.factor)) > max(SMALL, SURE * self.error) and self.sure > SURE


def resized(kernel: Tensor, factor: float) -> Tensor:
    """Return a PSF so many times as wide along every axis, of sum 1; its origin is the element ``n // 2`` of each axis.

    Resampled by a windowed sinc; what that makes negative becomes 0.
    """
    made = kernel.double()
    for axis, n in enumerate(kernel.shape):
        made = torch.tensordot(_rows(n, factor).to(made.device), made, ([1], [axis])).movedim(0, axis)
    made = made.clamp(min=0)
    return (made / made.sum()).float()


def _rows(n: int, factor: float) -> Tensor:
    """Return what resamples a line of n elements about its origin, (m, n)."""
    half = math.ceil(factor * max(n // 2, n - 1 - n // 2))
    new = torch.arange(-half, half + 1.0, dtype=torch.float64)[:, None]
    away = (new / factor - (torch.arange(n, dtype=torch.float64) - n // 2)) * min(1.0, factor)
    return torch.sinc(away) * torch.sinc(away / LOBES) * (away.abs() < LOBES)


def widened(problem: Problem, factor: float) -> Problem:
    """Return a problem whose operator is a `Convolution` with a PSF so many times as wide."""
    assert isinstance(problem.forward, Convolution)  # noqa: S101
    return _with_kernel(problem, resized(problem.forward.kernel, factor))


def _with_kernel(problem: Problem, kernel: Tensor) -> Problem:
    field = tuple(problem.y.shape[1:])
    for axis, (n, most) in enumerate(zip(kernel.shape, field, strict=True)):
        if n > most:  # both are about the origin
            kernel = kernel.narrow(axis, n // 2 - (most - 1) // 2, 2 * ((most - 1) // 2) + 1)
    forward = Convolution(kernel / kernel.sum(), margins_of(kernel, field))
    shape = (len(problem.y), *(n + sum(more) for n, more in zip(field, forward.margins, strict=True)))
    likelihood = problem.likelihood
    if isinstance(likelihood, BackProjection):
        likelihood = BackProjection.of(forward.kernel, field)
    return dataclasses.replace(problem, forward=forward, field=forward.field, shape=shape, likelihood=likelihood)


def told_width(problem: Problem, seed: int) -> Generator[None, None, Width | None]:
    """Yield while the width of a problem's PSF is told, and return it; None where the image does not tell it.

    A quarter of the elements are hidden. For each of some widths, estimates of least total variation are made of the
    others, of all weights of the variation; the width whose best estimate predicts the hidden ones best is taken, by
    a parabola. Where that is at an end of them, wider and narrower ones are tried, from half to twice the width: the
    error may have several minima. Its own error is told by leaving out some of the hidden elements in turn (the
    jackknife).

    Parameters
    ----------
    problem : Problem
        Whose operator is a `Convolution`.
    seed : int
        Decides which elements are hidden.
    """
    assert isinstance(problem.forward, Convolution)  # noqa: S101
    part, kernel = _part(problem), problem.forward.kernel
    known = part.known()
    hidden = known & (torch.rand(known.shape, generator=torch.Generator().manual_seed(seed)) < HELD).to(known.device)
    if int(hidden.sum()) < 20 * GROUPS:
        return None
    groups, errors, ahead = _groups(hidden), dict[int, Tensor](), deque(range(-NEAR, NEAR + 1))
    while ahead:
        step = ahead.popleft()
        tried = _with_kernel(part, resized(kernel, math.exp(STEP * step)))
        squares, is_even = yield from _predicted(tried, hidden)
        if is_even and step == 0:
            return None
        errors[step] = torch.zeros(GROUPS, dtype=torch.float64).index_add(0, groups, squares.double().cpu())
        if not ahead:
            ahead.extend(_farther(errors))
    return _least(errors, torch.bincount(groups, minlength=GROUPS))


def _farther(errors: dict[int, Tensor]) -> list[int]:
    """Return the steps of the width to try beside those that were: none where the best is well among the first ones."""
    best = min(errors, key=lambda step: float(errors[step].sum()))
    if abs(best) < NEAR:
        return []
    wanted = FAR if FAR[0] not in errors else range(max(best - INNER, FAR[0]), min(best + INNER, FAR[-1]) + 1)
    return [step for step in wanted if step not in errors]


def _part(problem: Problem) -> Problem:
    """Return the middle of the measurement, the mean of its channels where there are several, as a problem."""
    y, known = problem.y, problem.known()
    sizes = tuple(min(n, LARGEST[y.ndim - 1]) for n in y.shape[1:])
    for axis, (n, most) in enumerate(zip(y.shape[1:], sizes, strict=True), 1):
        y, known = (t.narrow(axis, (n - most) // 2, most) for t in (y, known))
    y, weight = y.mean(0, keepdim=True), known.all(0, keepdim=True).float()
    return dataclasses.replace(problem, y=y, weight=weight, shape=tuple(y.shape), guide=None, floor=None)


def _groups(hidden: Tensor) -> Tensor:
    """Return the group of each hidden element: those of one square go together, for their errors do."""
    squares = hidden.nonzero().cpu()[:, 1:] // BLOCK
    return (squares * torch.tensor([7, 5, 1])[: squares.shape[1]]).sum(1) % GROUPS


def _predicted(problem: Problem, hidden: Tensor) -> Generator[None, None, tuple[Tensor, bool]]:
    """Yield between estimates of least total variation, and return the best one's squared errors where it is hidden.

    And whether that has the heaviest weight: then there is no structure to tell anything by.
    """
    assert problem.weight is not None  # noqa: S101
    shown = dataclasses.replace(problem, weight=torch.where(hidden, 0.0, problem.weight))
    found: list[Tensor] = []
    means: list[float] = []
    for x in variations(shown, HEAVIEST):
        found.append((problem.forward(x) - problem.y)[hidden].square())
        means.append(float(found[-1].mean()))
        if means[-1] > WORSE * min(means):
            break
        yield
    best = means.index(min(means))
    return found[best], best == 0


def _least(errors: dict[int, Tensor], counts: Tensor) -> Width:
    """Return the width of least mean error, from each step's sums of squares, (groups,), and the groups' sizes."""
    steps = sorted(errors)
    table, count = torch.stack([errors[step] for step in steps]), counts.sum()
    sums = table.sum(1)
    best, is_at_end = _lowest(sums / count, steps)
    without = [_lowest((sums - of) / (count - n), steps)[0] for of, n in zip(table.T, counts, strict=True)]
    spread = torch.tensor(without, dtype=torch.float64)
    error = float(((GROUPS - 1) / GROUPS * (spread - spread.mean()).square().sum()).sqrt())
    gained = errors[0] - table[int(sums.argmin())]
    sure = float(gained.sum() / (GROUPS * gained.var()).sqrt().clamp(min=1e-30))
    return Width(math.exp(best), error, sure, is_at_end)


def _lowest(means: Tensor, steps: list[int]) -> tuple[float, bool]:
    """Return the logarithm of the width where a parabola through five points about the least is lowest."""
    at = int(means.argmin())
    start = min(max(at - 2, 0), len(means) - 5)
    places = STEP * torch.tensor(steps[start : start + 5], dtype=torch.float64)
    powers = torch.stack([places**2, places, torch.ones_like(places)], 1)
    bend, slope, _ = torch.linalg.lstsq(powers, means[start : start + 5, None]).solution[:, 0].tolist()
    low, high = STEP * steps[0], STEP * steps[-1]
    best = -slope / 2 / bend if bend > 0 else STEP * steps[at]
    return max(low, min(high, best)), at in (0, len(means) - 1) or not low < best < high


def words_of(width: Width | None) -> list[str]:
    """Return what there is to say of the width that an image tells."""
    if width is None:
        return []
    told = f"{width.factor:.2f} times as wide (± {width.error:.2f})"
    if width.is_used:
        return [f"The PSF was refined: made {told}, as the image tells it"]
    if not width.is_suspect:
        return []
    if width.is_at_end:
        told += " or farther off"
    kind, harm = ("wide", "rings beside edges") if width.factor < 1 else ("narrow", "blur that is left")
    return [
        f"The PSF does not explain the image: it seems too {kind}, which makes {harm}; one {told} predicts pixels "
        f"better. Check it, or let it be refined"
    ]
