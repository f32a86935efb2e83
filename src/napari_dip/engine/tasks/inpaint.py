"""Missing pixels filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from torch import Tensor

from napari_dip.engine.fields import Checked
from napari_dip.engine.marking import Colour, colour_of
from napari_dip.engine.noise import NoiseLaw
from napari_dip.engine.problem import Mask, Problem
from napari_dip.engine.stopping import HeldOut, StoppingRule


@dataclass(frozen=True, eq=False)
class Inpaint(Checked):
    """Fill missing pixels: y = x where the mask is not set."""

    done: ClassVar[str] = "inpainted"
    align: ClassVar[tuple[int, ...]] = (1,)
    factors: ClassVar[tuple[float, ...]] = ()
    caution: ClassVar[str] = ""
    # without noise there is nothing to overfit: the score creeps down for ever, and ever slower
    stop: ClassVar[StoppingRule] = HeldOut(ceiling=2500)
    noise: ClassVar[NoiseLaw | None] = None
    floor: ClassVar[float | None] = None
    stabilises: ClassVar[bool] = False
    fills: ClassVar[bool] = True

    mask: Annotated[Mask | None, {"label": "missing pixels", "tooltip": "Non-zero marks what is to be filled"}] = None
    mask_colour: Annotated[
        str, {"tooltip": "Pixels of this colour are missing too: #ff0000, or a number per channel as 255, 0, 0"}
    ] = ""
    tolerance: Annotated[float, {"min": 0.0, "tooltip": "By which a channel may differ from that colour"}] = 0.0
    widen: Annotated[int, {"min": 0, "max": 50, "unit": "px", "tooltip": "Around pixels of that colour"}] = 0
    denoise_known: Annotated[bool, {"tooltip": "Restore the known pixels too, else they stay exactly"}] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        colour: Any = self.mask_colour
        if not isinstance(colour, str):  # numbers
            object.__setattr__(self, "mask_colour", ",".join(map(str, np.atleast_1d(colour).tolist())))
        self.colour  # noqa: B018  refused now, and not when a run begins

    @property
    def colour(self) -> Colour | None:
        """What marks missing pixels besides the mask."""
        return Colour(colour_of(self.mask_colour), self.tolerance, self.widen) if self.mask_colour.strip() else None

    @property
    def keeps_known(self) -> bool:
        return not self.denoise_known

    @property
    def denoises(self) -> bool:
        return self.denoise_known

    def problem(self, y: Tensor) -> Problem:
        return Problem(y, shape=tuple(y.shape))
