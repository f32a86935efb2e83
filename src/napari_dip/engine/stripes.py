"""Offsets that whole rows or columns of a detector have, told from the image and taken off."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import solveh_banded
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

Stripes = Literal["none", "rows", "columns", "both"]

AXES = {"none": (), "rows": (-2,), "columns": (-1,), "both": (-2, -1)}
LINES_APART = 2  # lines are compared with that many to either side
SMOOTH = (
    4.0  # lines: standard deviation of the Gaussian whose mean of the offsets is left in, for it may be the scene's
)
REACH = 4.685  # scales from the middle: differences beyond say nothing of the offset (J. W. Tukey's biweight)
ROUNDS = 6
FEWEST = 8  # pixels that two lines must share
LEAST = 0.1  # of the median scale of lines: those of constant ones are not known exactly
TINY = 1e-12

Doubles = npt.NDArray[np.float64]


def stripes_of(y: Tensor, known: Tensor, along: Stripes) -> Tensor:
    """Return the offsets of rows, columns or both, (C, *spatial), 0 in the mean; of a volume each plane's own.

    The middle of the differences of two lines, told robustly, is the difference of their offsets where the scene does
    not change over the line. These are joined by least squares, weighted by how sure each is. What of the offsets
    varies slowly from line to line is left in the image: it cannot be told from shading.

    Parameters
    ----------
    y, known : Tensor
        (C, *spatial), and which of its elements count, boolean.
    along : {"none", "rows", "columns", "both"}
        Which lines have offsets.
    """
    values = y.detach().cpu().double().numpy()
    sure = known.cpu().numpy()
    found = np.zeros_like(values)
    for axis in AXES[along]:
        turned = np.moveaxis(values - found, axis, -2).reshape(-1, values.shape[axis], values.shape[-3 - axis])
        masks = np.moveaxis(sure, axis, -2).reshape(turned.shape)
        offsets = np.stack([_offsets(plane, mask) for plane, mask in zip(turned, masks, strict=True)])
        lines = offsets.reshape(*values.shape[:-2], -1)  # (C, Z, lines) or (C, lines)
        found += np.expand_dims(lines, -1 if axis == -2 else -2)
    return torch.from_numpy(found).to(y)


def _offsets(plane: Doubles, known: npt.NDArray[np.bool_]) -> Doubles:
    """Return the offset of each row of a plane, (rows,)."""
    count = len(plane)
    bands, target = np.zeros((LINES_APART + 1, count)), np.zeros(count)  # of the normal equations
    for apart in range(1, LINES_APART + 1):
        middle, weight = _middles(plane[apart:] - plane[:-apart], known[apart:] & known[:-apart])
        bands[0, :-apart] += weight
        bands[0, apart:] += weight
        bands[apart, :-apart] -= weight
        target[apart:] += weight * middle
        target[:-apart] -= weight * middle
    bands[0] += max(1e-9 * float(bands[0].mean()), TINY)
    offsets = np.asarray(solveh_banded(bands, target, lower=True), np.float64)
    rough: Doubles = offsets - gaussian_filter1d(offsets, SMOOTH, mode="nearest")
    return rough - float(rough.mean())


def _middles(differences: Doubles, known: npt.NDArray[np.bool_]) -> tuple[Doubles, Doubles]:
    """Return the robust middle of each row's known values, and the inverse of its variance: 0 where few are known."""
    told = known.sum(1) >= FEWEST
    values = np.where(known | ~told[:, None], differences, np.nan)
    middle = np.nanmedian(values, 1, keepdims=True)
    scale = np.nanmedian(np.abs(values - middle), 1, keepdims=True) / 0.6745
    scale = np.maximum(scale, LEAST * np.median(scale[told]) if told.any() else 0) + TINY  # rows may be constant
    for _ in range(ROUNDS):
        weight = np.where(known, np.clip(1 - ((differences - middle) / (REACH * scale)) ** 2, 0, None) ** 2, 0)
        middle = (weight * differences).sum(1, keepdims=True) / np.maximum(weight.sum(1, keepdims=True), TINY)
    return middle[:, 0], told * weight.sum(1) / scale[:, 0] ** 2
