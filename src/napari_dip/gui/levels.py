"""Multiscale layers: which of their levels is restored, and where its pixels lie."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer

from napari_dip.engine.problem import Array


def chosen_level(layer: Layer) -> int:
    """Return the level of a multiscale layer that napari is told to show, in the layer's controls; 0: the largest."""
    return (getattr(layer, "locked_data_level", None) or 0) if layer.multiscale else 0


def level(layer: Layer) -> Any:
    """Return a layer's array; of a multiscale layer the chosen level."""
    return layer.data[chosen_level(layer)] if layer.multiscale else layer.data


def coarseness(layer: Layer) -> Array:
    """Return how many pixels of the largest level a pixel of the chosen one has along each axis, 1 and more."""
    whole = layer.data[0].shape if layer.multiscale else layer.data.shape
    coarse: Array = np.divide(whole[: layer.ndim], level(layer).shape[: layer.ndim])
    return coarse


def to_world(layer: Layer, position: Any) -> Array:
    """Return where a position in pixels of the chosen level lies: its field has the same edges as the largest one's."""
    coarse = coarseness(layer)
    return np.asarray(layer.data_to_world(np.asarray(position) * coarse + (coarse - 1) / 2))


def to_pixels(layer: Layer, point: Any) -> Array:
    """Return a place in the world as a position in pixels of the chosen level."""
    coarse = coarseness(layer)
    position: Array = (np.asarray(layer.world_to_data(point)) - (coarse - 1) / 2) / coarse
    return position


def describe_level(layer: Layer) -> str:
    """Return which level of a multiscale layer is chosen, in words; empty for the largest."""
    return f"level {chosen} of 0 to {len(layer.data) - 1}" if (chosen := chosen_level(layer)) else ""
