"""Whether the deep image prior is the right tool for a file."""

from __future__ import annotations

import argparse

import napari_dip as dip
from napari_dip.cli.reading import lettered, read


def run(options: argparse.Namespace) -> int:
    """Print the verdict and what speaks against a fit; return 0 whatever it is."""
    picture = read(options.image)
    axes = lettered(options.image, picture.pixels.shape, options.axes or picture.axes)
    said = dip.check(picture.pixels, axes, saturation=options.saturation)
    print(said)
    for sentence in (*said.against, *said.hints):
        print(f"- {sentence}")
    return 0
