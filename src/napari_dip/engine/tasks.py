"""What can be restored: each task turns a scaled measurement into a `Problem`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

from torch import Tensor

from napari_dip.engine.noise import NoiseLaw
from napari_dip.engine.problem import Mask, Problem
from napari_dip.engine.stopping import HeldOut, StoppingRule


class Task(Protocol):
    """What every task of this file is.

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
    keeps_known : bool
        Whether known pixels come back exactly as they were.
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
    def keeps_known(self) -> bool: ...
    def problem(self, y: Tensor) -> Problem:
        """Return the problem for one block, y scaled and (C, *spatial)."""
        ...


@dataclass(frozen=True)
class Denoise:
    """Remove the noise of an image: y = x + noise."""

    done: ClassVar[str] = "denoised"
    align: ClassVar[tuple[int, ...]] = (1,)
    stop: ClassVar[StoppingRule] = HeldOut()
    mask: ClassVar[Mask | None] = None
    fills: ClassVar[bool] = False
    keeps_known: ClassVar[bool] = False

    noise: Annotated[NoiseLaw | None, {"tooltip": "What is known of the noise; auto: told from the image"}] = None

    def problem(self, y: Tensor) -> Problem:
        return Problem(y, shape=tuple(y.shape))


@dataclass(frozen=True, eq=False)
class Inpaint:
    """Fill missing pixels: y = x where the mask is not set."""

    done: ClassVar[str] = "inpainted"
    align: ClassVar[tuple[int, ...]] = (1,)
    # without noise there is nothing to overfit: the score creeps down for ever, and ever slower
    stop: ClassVar[StoppingRule] = HeldOut(ceiling=2500)
    noise: ClassVar[NoiseLaw | None] = None
    fills: ClassVar[bool] = True

    mask: Annotated[Mask | None, {"label": "missing pixels", "tooltip": "Non-zero marks what is to be filled"}] = None
    denoise_known: Annotated[bool, {"tooltip": "Restore the known pixels too, else they stay exactly"}] = False

    @property
    def keeps_known(self) -> bool:
        return not self.denoise_known

    def problem(self, y: Tensor) -> Problem:
        return Problem(y, shape=tuple(y.shape))


TASKS = (Denoise, Inpaint)
