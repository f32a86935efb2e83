"""Pixels that are marked by their colour, as text and watermarks over an image are."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from napari_dip.engine.problem import Array


@dataclass(frozen=True)
class Colour:
    """A colour that marks pixels.

    Parameters
    ----------
    values : tuple of float
        One per channel, in the image's units, or one for all.
    tolerance : float
        By which each channel may differ.
    widen : int
        Neighbours in the plane, up to so many px away, are marked too: edges of text are mixtures.
    """

    values: tuple[float, ...]
    tolerance: float = 0.0
    widen: int = 0

    def find(self, image: Array) -> npt.NDArray[np.bool_]:
        """Return which pixels of a frame, (C, *spatial), have it: all channels at once.

        Raises
        ------
        ValueError
            When it has another number of channels.
        """
        if len(self.values) not in (1, len(image)):
            raise ValueError(
                f"The colour that marks missing pixels has {len(self.values)} values, the image {len(image)} channels"
            )
        wanted = np.reshape(self.values, (-1, *[1] * (image.ndim - 1)))
        marked = (np.abs(image.astype(np.float64) - wanted) <= self.tolerance).all(0)
        return np.broadcast_to(_widened(marked, self.widen), image.shape)


def colour_of(text: str) -> tuple[float, ...]:
    """Return the values of "#ff0000", in 8 bits, or of numbers with commas between, as "255" or "1.0, 0, 0".

    Raises
    ------
    ValueError
        When it is neither.
    """
    if re.fullmatch("#[0-9a-fA-F]{6}", text.strip()):
        return tuple(float(value) for value in bytes.fromhex(text.strip()[1:]))
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{text!r} is no colour: write it as #ff0000, or one number per channel with commas between, as 255, 0, 0"
        ) from None


def _widened(marked: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.bool_]:
    if not reach:
        return marked
    planes = torch.from_numpy(marked.astype(np.float32)).reshape(-1, 1, *marked.shape[-2:])
    wide = F.max_pool2d(planes, 2 * reach + 1, 1, reach)
    return np.asarray(wide.reshape(marked.shape).numpy() > 0)
