"""Missing pixels filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from napari_dip.engine.noise import NoiseLaw
from napari_dip.engine.problem import Mask, Problem
from napari_dip.engine.stopping import HeldOut, StoppingRule


@dataclass(frozen=True, eq=False)
class Inpaint:
    """Fill missing pixels: y = x where the mask is not set."""

    done: ClassVar[str] = "inpainted"
    align: ClassVar[tuple[int, ...]] = (1,)
    factors: ClassVar[tuple[float, ...]] = ()
    caution: ClassVar[str] = ""
    # without noise there is nothing to overfit: the score creeps down for ever, and ever slower
    stop: ClassVar[StoppingRule] = HeldOut(ceiling=2500)
    noise: ClassVar[NoiseLaw | None] = None
    floor: ClassVar[float | None] = None
    fills: ClassVar[bool] = True

    mask: Annotated[Mask | None, {"label": "missing pixels", "tooltip": "Non-zero marks what is to be filled"}] = None
    denoise_known: Annotated[bool, {"tooltip": "Restore the known pixels too, else they stay exactly"}] = False

    @property
    def keeps_known(self) -> bool:
        return not self.denoise_known

    def problem(self, y: Tensor) -> Problem:
        return Problem(y, shape=tuple(y.shape))
