"""What every task is: it turns a scaled measurement into a `Problem`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from napari_dip.engine.noise import NoiseLaw
from napari_dip.engine.problem import Mask, Problem
from napari_dip.engine.stopping import StoppingRule


class Task(Protocol):
    """What every task is.

    Attributes
    ----------
    done : str
        What it has done to an image, for the result's name.
    align : tuple of int
        Tile origins are multiples of this.
    stop : StoppingRule
        The rule that a fit of this task ends by when none is given.
    noise : NoiseLaw or None
        Of the image, where it is known.
    mask : Mask or None
        Pixels that the task itself declares missing, shaped as the image or as its spatial axes.
    fills : bool
        Whether missing pixels come back restored, else as they were.
    floor : float or None
        No pixel of the result is darker, in the image's units; None: no limit.
    keeps_known : bool
        Whether known pixels come back exactly as they were.
    factors : tuple of float
        By how much the restored image's pixels are smaller along the last spatial axes, see `finer`; axes before
        these, and all where it is empty, keep the measurement's grid.
    denoises : bool
        Whether the result is what was measured less its noise: of nothing else a standard deviation is told.
    stabilises : bool
        Whether values may be stretched by a curve under which noise is as strong everywhere: y = x + noise alone.
    caution : str
        What a result must not be taken for, in words; empty where there is nothing to say.
    """

    @property
    def done(self) -> str: ...
    @property
    def align(self) -> tuple[int, ...]: ...
    @property
    def stop(self) -> StoppingRule: ...
    @property
    def noise(self) -> NoiseLaw | None: ...
    @property
    def mask(self) -> Mask | None: ...
    @property
    def fills(self) -> bool: ...
    @property
    def floor(self) -> float | None: ...
    @property
    def keeps_known(self) -> bool: ...
    @property
    def factors(self) -> tuple[float, ...]: ...
    @property
    def denoises(self) -> bool: ...
    @property
    def stabilises(self) -> bool: ...
    @property
    def caution(self) -> str: ...
    def problem(self, y: Tensor) -> Problem:
        """Return the problem for one block, y scaled and (C, *spatial)."""
        ...


@runtime_checkable
class InUnits(Protocol):
    """A task that has to know what scaled values stand for: it is asked for its problem in this way."""

    def problem_in_units(self, y: Tensor, known: Tensor, *, offset: Tensor, gain: Tensor) -> Problem:
        """Return the problem for one block.

        Parameters
        ----------
        y, known : Tensor
            (C, *spatial), scaled, and which of its elements are known; the others are 0.
        offset, gain : Tensor
            (C,): scaled values times gain plus offset are the image's.
        """
        ...
