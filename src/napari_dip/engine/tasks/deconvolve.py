"""A blur undone whose point-spread function is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from torch import Tensor

from napari_dip.engine.backprojection import BackProjection
from napari_dip.engine.convolve import Convolution, margins_of
from napari_dip.engine.fields import Checked
from napari_dip.engine.noise import NoiseLaw, check_law
from napari_dip.engine.problem import Kernel, Mask, Problem, identity
from napari_dip.engine.psf import PSF, GaussianPSF, checked, seen_through
from napari_dip.engine.stopping import HeldOut, StoppingRule


@dataclass(frozen=True, eq=False)
class Deconvolve(Checked):
    """Undo a known blur: y = PSF * x + noise, in a plane or in a volume."""

    done: ClassVar[str] = "deconvolved"
    align: ClassVar[tuple[int, ...]] = (1,)
    factors: ClassVar[tuple[float, ...]] = ()
    caution: ClassVar[str] = "Detail that the blur did not pass is the network's best guess, no measurement"
    stop: ClassVar[StoppingRule] = HeldOut()
    mask: ClassVar[Mask | None] = None
    fills: ClassVar[bool] = False
    keeps_known: ClassVar[bool] = False
    denoises: ClassVar[bool] = False
    stabilises: ClassVar[bool] = False

    psf: Annotated[
        Kernel | None,
        {"label": "measured PSF", "optional": True, "tooltip": "The image of a point, its origin in the middle"},
    ] = None
    model: Annotated[PSF, {"label": "PSF model", "tooltip": "Where none was measured"}] = field(
        default_factory=GaussianPSF
    )
    centre: Annotated[
        bool, {"label": "centre the PSF", "tooltip": "The bright part of a measured PSF is moved to its middle"}
    ] = False
    refine: Annotated[
        bool, {"label": "refine the PSF", "tooltip": "Its width is told from the image first, and corrected"}
    ] = False
    floor: Annotated[
        float | None, {"tooltip": "No pixel of the result is darker, in the image's units; auto: no limit"}
    ] = None
    resolution: Annotated[
        float | None,
        {
            "min": 0.5,
            "unit": "px",
            "tooltip": "How wide a point is in the result, at half its height: from 2 on, stars have hardly any rings; "
            "auto: as narrow as can be",
        },
    ] = None
    noise: Annotated[NoiseLaw | None, {"tooltip": "What is known of the noise; auto: told from the image"}] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_law(self.noise)

    def problem(self, y: Tensor) -> Problem:
        """Return the problem: x goes beyond the field, as far as its light reaches into it.

        Raises
        ------
        ValueError
            When the PSF does not fit the image, or is none.
        """
        spatial = tuple(y.shape[1:])
        kernel, notes = self.measured_or_modelled(spatial)
        forward = Convolution(kernel, margins_of(kernel, spatial))
        return Problem(
            y,
            shape=(len(y), *forward.extent(spatial)),
            forward=forward,
            field=forward.field,
            likelihood=BackProjection.of(kernel, spatial),
            is_linear=True,
            gives_back=True,
            refines=self.refine,
            finish=identity if self.resolution is None else seen_through(self.resolution, spatial),
            notes=notes,
        )

    def measured_or_modelled(self, field: tuple[int, ...]) -> tuple[Tensor, tuple[str, ...]]:
        """Return the PSF of sum 1, and what there is to say of it where it was measured."""
        if self.psf is None:
            return checked(self.model.kernel(field), field)[0], ()
        return checked(self.psf, field, centres=self.centre)
