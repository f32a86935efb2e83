"""Two small widgets with no more than a layer and a few settings: for a quick result and for scripts."""

# no postponed annotations: magicgui and napari look types up when a widget is made
from collections.abc import Generator
from typing import Annotated, Any, TypeAlias

from magicgui import magic_factory
from napari.layers import Image, Labels
from napari.qt.threading import FunctionWorker, GeneratorWorker, create_worker
from napari.types import LayerDataTuple
from napari.utils.notifications import show_warning
from napari.viewer import Viewer

import napari_dip as dip
from napari_dip.engine import devices
from napari_dip.gui.beside import marked, mismatch
from napari_dip.gui.layers import Origin, origin, shown_plane
from napari_dip.gui.session import Bar
from napari_dip.gui.worker import explain

Device = Annotated[
    str, {"choices": ["auto", *devices.available()], "tooltip": "Where the fit runs; auto is the fastest there is"}
]
Seed = Annotated[int, {"min": 0, "max": 2**31 - 1, "tooltip": "The same seed gives the same result"}]
Steps = Annotated[int, {"min": 1, "max": 100_000, "label": "max steps", "tooltip": "The fit ends here at the latest"}]
Preset = Annotated[
    str, {"choices": [preset.name for preset in dip.PRESETS], "tooltip": "How much time the result may take"}
]
Factor = Annotated[float, {"min": 1.5, "max": 8.0, "step": 0.5, "tooltip": "Pixels per measured pixel, along y and x"}]
Source = Annotated[Image, {"tooltip": "The image to restore; of a stack, the plane that is shown"}]
Marks = Annotated[Labels, {"tooltip": "Every pixel that is painted, with any label, is filled"}]
Result: TypeAlias = FunctionWorker[list[LayerDataTuple]]


@magic_factory(call_button="Denoise", labels=True)
def denoise_widget(
    viewer: Viewer,
    image: Source,
    preset: Preset = "standard",
    device: Device = "auto",
    seed: Seed = 0,
    max_steps: Steps = 3000,
) -> Result:
    """Remove the noise of an image layer."""
    chosen = _shown(image, viewer)
    settings = {"preset": preset, "device": device, "seed": seed, "max_steps": max_steps}
    return _start(chosen, dip.Denoise(), settings)


@magic_factory(call_button="Inpaint", labels=True)
def inpaint_widget(
    viewer: Viewer, image: Source, missing: Marks, device: Device = "auto", seed: Seed = 0, max_steps: Steps = 3000
) -> Result:
    """Fill the pixels of an image layer that are painted in a labels layer.

    Raises
    ------
    ValueError
        When there is no such layer, or the labels layer does not lie on the image layer.
    """
    chosen = _shown(image, viewer)
    if missing is None:
        raise ValueError("Add a labels layer and paint what is to be filled: there is none.")
    if reason := mismatch(missing, image, shown_plane(image, viewer.dims)):
        raise ValueError(reason)
    task = dip.Inpaint(marked(missing, chosen, None))
    return _start(chosen, task, {"device": device, "seed": seed, "max_steps": max_steps})


@magic_factory(call_button="Super-resolve", labels=True)
def super_resolve_widget(
    viewer: Viewer,
    image: Source,
    factor: Factor = 2.0,
    device: Device = "auto",
    seed: Seed = 0,
    max_steps: Steps = 3000,
) -> Result:
    """Make the pixels of an image layer smaller; detail beyond the measurement is invented."""
    chosen = _shown(image, viewer)
    return _start(chosen, dip.SuperResolve(factor), {"device": device, "seed": seed, "max_steps": max_steps})


def _shown(image: Image | None, viewer: Viewer) -> Origin:
    """Return the shown plane of an image layer; ValueError, in words, where there is no layer."""
    if image is None:
        raise ValueError("Open an image first: there is no image layer to restore.")
    return origin(image, shown_plane(image, viewer.dims))


def _start(chosen: Origin, task: dip.Task, settings: dict[str, Any]) -> Result:
    """Return a started worker whose returned layers napari adds; Cancel in the activity dock ends it with its best."""
    control = dip.Control()
    worker: GeneratorWorker[None, None, list[LayerDataTuple]] = create_worker(
        _layers, chosen, task, {**settings, "control": control}
    )
    worker.finished.connect(Bar(f"{chosen.name} – {task.done}", control.stop).close)
    worker.start()
    return worker  # napari asks of it no more than `returned`


def _layers(chosen: Origin, task: dip.Task, settings: dict[str, Any]) -> Generator[None, None, list[LayerDataTuple]]:
    """Restore, yielding at every step so that the worker can be made to quit; failures are told, not raised."""
    progress = None
    try:
        for progress in dip.iter_restore(  # noqa: B007
            chosen.read(), task, axes=chosen.axes, saturation=chosen.saturation, **settings
        ):
            yield
        assert progress is not None  # noqa: S101  a run takes at least one step
        result = progress.restoration()
    except Exception as error:  # thread workers swallow some
        show_warning(f"The restoration of “{chosen.name}” failed. {explain(error)}")
        return []
    metadata = chosen.metadata(result.report(), result.image.shape)
    layers: list[Image | Labels] = [chosen.layer(result.image, f"{chosen.name} – {task.done}", metadata)]
    if result.filled is not None:
        marks = chosen.mask(result.filled, f"{chosen.name} – filled", metadata=metadata)
        marks.visible = False
        layers.insert(0, marks)  # below what a person wants to see first
    return [layer.as_layer_data_tuple() for layer in layers]
