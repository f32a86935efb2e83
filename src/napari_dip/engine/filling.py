"""Missing pixels told from similar patches: where they are scattered, in seconds, and near to the truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.engine.planes import SMALLEST
from napari_dip.engine.problem import Problem, identity
from napari_dip.engine.ridge import nl_ridge_again
from napari_dip.engine.variation import total_variation

PASSES = 60  # at most, of an image of so many pixels or fewer; of larger ones in proportion fewer
LARGE = 512 * 512
WORTH = 0.995  # of the squared error at held-out pixels before: a pass that leaves more is the last
REVEALED = 5  # passes more, with the held-out pixels
WIDE = 8  # px from what is known: from here on a hole is wide
ROUND = 8  # px: as far as corners of a hole may be beyond a square in its middle
SURE = 1e-6  # variance of what is known, of an image scaled to 0 to 1


@dataclass(frozen=True, eq=False)
class Filling:
    """An image whose missing pixels were told from patches.

    Attributes
    ----------
    guide : Tensor
        Made without the held-out pixels, (C, Y, X).
    estimate : Tensor
        Made with them, (C, Y, X).
    y : Tensor
        The measurement, (C, Y, X).
    held, known : Tensor
        Which of its pixels were held out, and which are known, boolean, (C, Y, X).
    """

    guide: Tensor
    estimate: Tensor
    y: Tensor
    held: Tensor
    known: Tensor

    def to(self, device: torch.device) -> Filling:
        """Return the same with its tensors on a device."""
        return Filling(*(getattr(self, part.name).to(device) for part in dataclasses.fields(self)))

    def weight(self, unseen: Tensor) -> float:
        """Return the weight, 0 to 1, with which it errs least together with an image at the held-out pixels."""
        apart = (self.guide - unseen)[self.held]
        power = float(apart.square().sum())
        return min(1.0, max(0.0, float((apart * (self.y - unseen)[self.held]).sum()) / power)) if power > 0 else 0.0

    def mixed(self, x: Tensor, weight: float, wide: Tensor | None = None) -> Tensor:
        """Return x and the estimate together: next to known pixels, where held-out ones tell what either is worth.

        Not in wide holes, boolean, (*spatial): patches at their edges are half guessed, as those around held-out pixels
        are not.
        """
        known = self.known.float()[None]
        near = (F.max_pool2d(known, 3, 1, 1) + F.max_pool2d(known, 5, 1, 2))[0] / 2
        return torch.lerp(x, self.estimate, weight * (near if wide is None else near * ~wide))


def can_fill(problem: Problem, hidden: Problem) -> bool:
    """Return whether `fill` can tell anything: of a plane of which something is missing, and something held out."""
    known = problem.known()
    is_plane = problem.y.ndim == 3 and min(problem.y.shape[1:]) >= SMALLEST
    is_held = bool((known & ~hidden.known()).any())
    return is_plane and problem.forward is identity and is_held and not bool(known.all())


def wide_holes(known: Tensor) -> Tensor:
    """Return which missing pixels are in holes that have one `WIDE` px or more from all that is known, (*spatial).

    Distances count along any axis and diagonally. What a channel knows is not missing.
    """
    missing = (~known).all(0)[None, None].float()
    pool = F.max_pool2d if known.ndim == 3 else F.max_pool3d
    wide = missing
    for _ in range(WIDE - 1):
        wide = 1 - pool(1 - wide, 3, 1, 1)
    for _ in range(WIDE + ROUND if bool(wide.any()) else 0):
        wide = pool(wide, 3, 1, 1) * missing
    return (wide > 0)[0, 0]


def fill(problem: Problem, hidden: Problem) -> Generator[None, None, Filling | None]:
    """Yield while missing pixels are told from similar patches, and return what was found; None where there are none.

    From an estimate of least total variation on, each pass of NL-Ridge takes the missing pixels for noisy ones whose
    variance is the error at the held-out pixels, and the known ones for exact; it ends when these are not told better.

    Parameters
    ----------
    problem, hidden : Problem
        Of a plane, the operator being the identity; `hidden` is the same with some elements held out.
    """
    if not can_fill(problem, hidden):
        return None
    known, seen = problem.known(), hidden.known()
    held = known & ~seen
    start = yield from total_variation(problem, hidden)
    assert start is not None  # noqa: S101  something is held out
    y = problem.y

    def error(x: Tensor) -> float:
        return float((x - y)[held].square().mean())

    guide = start
    for _ in range(max(1, min(PASSES, PASSES * LARGE // y[0].numel()))):
        better = yield from _told(torch.where(seen, y, guide), seen, error(guide))
        worth = error(better) < WORTH * error(guide)
        guide = better if error(better) < error(guide) else guide
        if not worth:
            break
    estimate = guide
    for _ in range(REVEALED):
        estimate = yield from _told(torch.where(known, y, estimate), known, error(guide))
    return Filling(guide, estimate, y, held, known)


def _told(x: Tensor, sure: Tensor, error: float) -> Generator[None, None, Tensor]:
    return (yield from nl_ridge_again(x, torch.where(sure, SURE, max(error, SURE))))
