"""What a frame's fits and what was made in closed form give together, with its standard deviation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.engine.clipping import Clipping
from napari_dip.engine.correlation import reach
from napari_dip.engine.filling import Filling
from napari_dip.engine.member import Member
from napari_dip.engine.pilot import Pilot
from napari_dip.engine.points import Lost, given_back
from napari_dip.engine.problem import Problem
from napari_dip.engine.uncertainty import Spread, spread_of, why_no_std


@dataclass(eq=False)
class Mixture:
    """The fits of a frame, and a pilot, a guide or a filling beside them where there is one.

    Attributes
    ----------
    problem : Problem
        With the guide, if there is one.
    pilot, filling
        Estimates in closed form that are weighed against the fits.
    guide : Tensor, optional
        What the fits see only, (C, *spatial); made without the held-out elements.
    wide : Tensor, optional
        Which pixels are in wide holes, boolean, (*spatial): the last fit is for them, the first for all else.
    members
        The fits, those not begun included.
    """

    problem: Problem
    pilot: Pilot | None = None
    guide: Tensor | None = None
    filling: Filling | None = None
    wide: Tensor | None = None
    members: list[Member] = field(default_factory=list)

    @cached_property
    def gaps(self) -> int:
        """How many pixels are missing beside wide holes."""
        missing = (~self.problem.known()).any(0)
        return int((missing if self.wide is None else missing & ~self.wide.to(missing.device)).sum())

    @cached_property
    def in_holes(self) -> int:
        """How many pixels are in wide holes."""
        return 0 if self.wide is None else int(self.wide.sum())

    @property
    def begun(self) -> list[Member]:
        """The members that have taken a step."""
        return [member for member in self.members if member.newest is not None]

    @property
    def kept(self) -> list[Member]:
        """The members that count: those that came to their end, or else the first as far as it came.

        Of one for wide holes and one for all else both count as far as they came, but for a beginning of the second
        after the end of the first.
        """
        if self.wide is not None and len(begun := self.begun) > 1:
            return begun if begun[1].is_done or not begun[0].is_done else begun[:1]
        ended = [member for member in self.members if member.is_done]
        return ended or self.begun[:1]

    def average(self) -> Tensor:
        """Return the sum of the members' best outputs, (C, *spatial), scaled; before there is one, the measurement."""
        if not self.begun:
            return _beginning(self.problem) if self.guide is None else self.guide
        return self.summed(self.output)

    def estimate(self) -> Tensor:
        """Return the best estimate so far, (C, *spatial), scaled, clipping undone."""
        return self.undone(self.mixed())

    def mixed(self) -> Tensor:
        """Return the same before clipping is undone: the share of what was made in closed form included."""
        if self.filling is not None:
            return self.filling.mixed(self.average(), self.share, self.wide) if self.begun else self.filling.estimate
        if self.pilot is None:
            return self.average()
        return self.pilot.mixed(self.average(), self.weights()) if self.begun else self.pilot.estimate

    @property
    def clipping(self) -> Clipping | None:
        return self.pilot.clipping if self.pilot else None

    def undone(self, mean: Tensor) -> Tensor:
        """Return what the mean of clipped values is the mean of before they were clipped."""
        return mean if self.clipping is None else self.clipping.undone(mean)

    def weights(self) -> tuple[float, ...]:
        """Return the pilot's weight in each band; none without a pilot or a fit."""
        if self.pilot is None or not self.begun:
            return ()
        return self.pilot.weights(self.unseen())

    @property
    def share(self) -> float:
        """The weight of what patches tell of missing pixels, next to known ones."""
        return self.filling.weight(self.unseen()) if self.filling and self.begun else 0.0

    def unseen(self) -> Tensor:
        """Return the sum of what the members gave before they saw the held-out elements, (C, *spatial)."""
        return self.summed(self.unseen_output)

    def output(self, member: Member) -> Tensor:
        """Return what a member gives, (C, *spatial), without the places where it failed and a pilot did not."""
        return member.output if self.pilot is None else self.pilot.mended(member.output)

    def left(self, member: Member) -> Tensor:
        """Return how far it counts there, 0 to 1, (C, *spatial); with a pilot."""
        assert self.pilot is not None  # noqa: S101
        return self.pilot.left(member.output)

    def unseen_output(self, member: Member) -> Tensor:
        """Return what it gave before it saw the held-out elements."""
        return member.unseen if self.pilot is None else self.pilot.mended(member.unseen, unseen=True)

    def shares(self) -> list[tuple[Member, float]]:
        """Return the members that count, each with its share: of least held-out error where there is a pilot.

        Of one for wide holes and one for all else, these are the shares of what is missing.
        """
        kept = self.kept  # once: another may end meanwhile
        if self.wide is not None and len(kept) > 1:
            missing = self.gaps + self.in_holes
            return list(zip(kept, (self.gaps / missing, self.in_holes / missing), strict=True))
        if self.pilot is None or len(kept) < 2:
            return [(member, 1 / len(kept)) for member in kept]
        return list(zip(kept, self.pilot.shares([self.unseen_output(member) for member in kept]), strict=True))

    def summed(self, output: Callable[[Member], Tensor]) -> Tensor:
        """Return an output of the members that count, summed by their shares."""
        (first, share), *others = self.shares()
        if self.wide is not None and others:
            return torch.where(self.wide, output(others[0][0]), output(first))
        total = share * output(first)
        for member, share in others:
            total.add_(output(member), alpha=share)
        return total

    def made_up(self) -> tuple[Tensor, tuple[Lost, ...]]:
        """Return the best estimate with what it lacks of the light given back, and what that was of point sources."""
        mixed, pilot = self.mixed(), self.pilot
        if pilot is None:
            return mixed, ()
        balanced = pilot.balanced(mixed)
        if not self.problem.is_judged_by_pixels or pilot.noise.correlation is not None:
            return balanced, ()
        whole, lost = given_back(balanced, pilot.y, pilot.noise.variance(balanced), pilot.known)
        return whole, tuple(lost)

    @property
    def no_std(self) -> str:
        """Why no standard deviation is given, in words; empty: it is."""
        return why_no_std(
            len(self.kept),
            has_pilot=self.pilot is not None,
            is_judged=self.problem.is_judged_by_pixels,
            is_correlated=self.pilot is not None and any(reach(self.pilot.noise.correlation)),
        )

    def spread(self) -> Spread | None:
        if self.pilot is None or self.no_std:
            return None
        outputs = torch.stack([self.output(member) for member in self.kept])
        left = self.summed(self.left)
        return spread_of(self.pilot, outputs, self.average(), self.unseen(), self.weights(), left)

    def uncertainty(self, mean: Tensor, draws: int, seed: int) -> tuple[Tensor | None, Tensor | None]:
        """Return the estimate's standard deviation, (C, *spatial), and some images that differ by it if asked for."""
        spread = self.spread()
        if spread is None:
            return None, None
        apart = spread.variance.sqrt()
        std = (self.undone(mean + apart) - self.undone(mean - apart)) / 2
        if not draws:
            return std, None
        drawn = [self.undone(mean + error) for error in spread.draw(draws, seed + 0xD3A3)]
        return std, torch.stack(drawn)


def _beginning(problem: Problem) -> Tensor:
    """Return an image to show before there is a fit: the measurement, and beyond it its mean."""
    if problem.shape == problem.y.shape and problem.is_image:
        return problem.y
    x = torch.full(problem.shape, float(problem.y.mean()) if problem.is_image else 0.5, device=problem.y.device)
    if not problem.is_image:
        return x
    field = problem.field(x)
    field.copy_(F.interpolate(problem.y[None], field.shape[1:], mode="nearest-exact")[0])
    return x
