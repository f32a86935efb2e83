"""Parts of large images, from which statistics are told as well as from the whole."""

from __future__ import annotations

from torch import Tensor

ENOUGH = 1 << 20  # px
BAND = 64  # rows of a part


def part_of(image: Tensor) -> Tensor:
    """Return bands of rows that lie evenly over a large image, as planes: (C, bands, 64, X).

    Of columns, (C, bands, Y, 64), where there are fewer rows. A smaller image is returned as it is, (C, *spatial); of
    a large volume, (C, Z, Y, X), planes are.
    """
    pixels = image[0].numel()
    if pixels <= ENOUGH:
        return image
    if image.ndim == 4:
        planes = max(1, image.shape[1] * ENOUGH // pixels)
        return image[:, _evenly(image.shape[1], planes)]
    channels, rows, columns = image.shape
    if rows < BAND:
        return part_of(image.mT).mT
    bands = image[:, : rows // BAND * BAND].reshape(channels, -1, BAND, columns)
    return bands[:, _evenly(bands.shape[1], max(1, ENOUGH // (BAND * columns)))]


def _evenly(count: int, wanted: int) -> list[int]:
    """Return so many indices below a count, evenly spread, or all."""
    wanted = min(count, wanted)
    return [(2 * i + 1) * count // (2 * wanted) for i in range(wanted)]
