"""A curve under which shot and read noise are as strong everywhere, for images whose light spans decades."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from napari_dip.engine.problem import Array

OFFSET = 3 / 8  # squared gains that are added to the variance: Anscombe's
COUNTS, FEW = 200, 50  # of electrons: those summed over, and from how many on two terms of a series are enough
LEAST = 0.05  # electrons, of which the table knows
MANY = 1e4  # electrons, from which on the correction stays
STEP = 0.1  # standard deviations between the nodes of the table
BELOW = 20.0  # standard deviations under the dark level, to which the table goes

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """The generalised Anscombe transform of one channel, a straight line below the image's dark level.

    The variance is `slope` · intensity + `at_zero`; of stretched values it is 1. Way back: the exact unbiased inverse
    (Mäkitalo and Foi 2013), what has a stretched mean as large, from a table.

    Parameters
    ----------
    slope, at_zero : float
        Of the noise's variance, in the image's units; the slope is positive.
    dark, bright : float
        Intensities between which the image lies; the variance at `dark` is not negative.
    """

    slope: float
    at_zero: float
    dark: float
    bright: float

    def stretch(self, values: Array) -> Doubles:
        """Return values stretched, in standard deviations of the noise from the dark level on."""
        values = np.asarray(values, np.float64)
        above = 2 / self.slope * (np.sqrt(self._raised(np.maximum(values, self.dark))) - self._root)
        return np.where(values < self.dark, (values - self.dark) / self._root, above)

    def unstretch(self, stretched: Array) -> Doubles:
        """Return the intensities whose noisy values have these means when stretched."""
        nodes, corrections = self._table
        stretched = np.asarray(stretched, np.float64)
        return self._inverse(stretched) + np.interp(stretched, nodes, corrections)

    def steepness(self, stretched: Array) -> Doubles:
        """Return by how much the intensity grows with the stretched value."""
        return self.slope / 2 * np.maximum(stretched, 0) + self._root

    def _inverse(self, stretched: Doubles) -> Doubles:
        raised = np.square(self.steepness(stretched))
        above = (raised - OFFSET * self.slope**2 - self.at_zero) / self.slope
        return np.where(stretched < 0, self.dark + stretched * self._root, above)

    def _raised(self, values: Doubles) -> Doubles:
        return self.slope * values + self.at_zero + OFFSET * self.slope**2

    @property
    def _root(self) -> float:
        return float(np.sqrt(self.slope * self.dark + self.at_zero + OFFSET * self.slope**2))

    @cached_property
    def _table(self) -> tuple[Doubles, Doubles]:
        """Return means of stretched values, and what has to be added to the plain inverse of each."""
        many = (MANY * self.slope**2 - self.at_zero) / self.slope  # brighter, the correction is as good as constant
        plain = np.arange(-BELOW, float(self.stretch(np.array(min(self.bright, max(many, self.dark))))) + BELOW, STEP)
        means = self._inverse(plain)
        least = max(self.slope * self.dark + self.at_zero, LEAST * self.slope**2)
        counts = np.maximum(self.slope * means + self.at_zero, least) / self.slope**2  # all noise taken for shot noise
        stretched = plain - 1 / (4 * np.sqrt(counts)) - 1 / (8 * counts**1.5)
        few = counts < FEW
        k = np.arange(COUNTS)[:, None]
        logarithm = k * np.log(counts[few]) - counts[few] - np.cumsum(np.log(np.maximum(k, 1)), 0)
        values = self.stretch(means[few] + self.slope * (k - counts[few]))
        stretched[few] = (np.exp(logarithm) * values).sum(0)
        return stretched, means - self._inverse(stretched)
