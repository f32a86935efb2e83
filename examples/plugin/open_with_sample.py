"""Open napari with a noisy micrograph and the dock "Deep image prior" beside it, ready to run.

python examples/plugin/open_with_sample.py
"""

import napari

from napari_dip import samples
from napari_dip.gui.widget import DeepImagePrior


def add_sample_and_dock(viewer: napari.Viewer) -> DeepImagePrior:
    """Return the dock, with the sample chosen in it; `dock.run()` is what its Run button does."""
    sample = samples.micrograph()
    viewer.add_image(sample.image, name=sample.name)
    dock = DeepImagePrior(viewer)
    viewer.window.add_dock_widget(dock, name="Deep image prior", area="right")
    return dock


if __name__ == "__main__":
    add_sample_and_dock(napari.Viewer())
    napari.run()
