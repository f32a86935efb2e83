"""What a JPEG file says of its image: each coefficient lies in an interval, and nothing more."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_dip.engine import jpeg
from napari_dip.engine.jpeg import SIDE, JpegTables


class Intervals(nn.Module):
    """A likelihood: how far an image's coefficients are outside of the intervals that became those of the file.

    A module without parameters, so that its tensors follow the fit to its device.

    Parameters
    ----------
    y : Tensor
        The decompressed image, (1, Y, X) or (3, Y, X), scaled.
    known : Tensor
        Which of its elements are known, boolean. A block in which one is not has no say.
    tables : JpegTables
        How it was compressed.
    offset, gain : Tensor
        (C, 1, 1): scaled values times gain plus offset are grey levels.
    """

    def __init__(self, y: Tensor, known: Tensor, tables: JpegTables, *, offset: Tensor, gain: Tensor) -> None:
        super().__init__()
        self.tables, self.size = tables, (y.shape[1], y.shape[2])
        for name, value in (("offset", offset), ("gain", gain)):
            self.register_buffer(name, value.to(y), persistent=False)
        image = y * gain + offset
        parts = jpeg.decoded_planes(image, tables.subsampling)
        for index, (plane, steps) in enumerate(zip(parts, tables.steps(len(parts)), strict=True)):
            values = jpeg.coefficients(plane)
            exact = jpeg.exact_blocks(image, known, tables.subsampling, luma=index == 0)
            middle = torch.where(exact[..., None, None], torch.round(values / steps) * steps, values)
            unknown = jpeg.touched_blocks((~known).any(0), tables.subsampling, luma=index == 0, beyond=False)
            weight = (~unknown)[..., None, None].float()
            for name, value in (("middle", middle), ("half", steps / 2), ("weight", weight)):
                self.register_buffer(f"{name}{index}", value.to(y), persistent=False)

    def forward(self, predicted: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """Return the mean squared distance of a coefficient from its interval, 0-d, in scaled units squared.

        Weights are not looked at: which pixels are missing was told at the start.
        """
        total, count = predicted.new_zeros(()), predicted.new_zeros(())
        for middle, half, known, values in self.planes(predicted):
            outside = ((values - middle).abs() - half).clamp(min=0)
            total = total + (known * outside.square()).sum()
            count = count + known.sum() * SIDE * SIDE
        return total / count.clamp(min=1) / self.get_buffer("gain").square().mean()

    def nearest(self, x: Tensor) -> Tensor:
        """Return an image near x that the file could come from, (C, Y, X), scaled; a missing block stays as it is."""
        changes = tuple(
            jpeg.plane_of(known * (values.clamp(middle - half, middle + half) - values))
            for middle, half, known, values in self.planes(x)
        )
        return x + jpeg.change_of(changes, self.tables.subsampling, self.size) / self.get_buffer("gain").to(x)

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the planes of an image, in grey levels."""
        return jpeg.planes(x * self.get_buffer("gain").to(x) + self.get_buffer("offset").to(x), self.tables.subsampling)

    def planes(self, x: Tensor) -> list[tuple[Tensor, ...]]:
        """Return for each plane the middles and half widths of its intervals, which blocks count, and the values."""
        told = (
            [self.get_buffer(f"{name}{i}").to(x) for name in ("middle", "half", "weight")] for i in range(x.shape[0])
        )
        return [(*known, jpeg.coefficients(part)) for known, part in zip(told, self.parts(x), strict=True)]
