"""What can be restored: a file for each task, and the tuple of them all."""

from napari_dip.engine.tasks.deblock import Deblock
from napari_dip.engine.tasks.deconvolve import Deconvolve
from napari_dip.engine.tasks.denoise import Denoise
from napari_dip.engine.tasks.enhance import Cartoon, Enhance
from napari_dip.engine.tasks.guided import Guided
from napari_dip.engine.tasks.inpaint import Inpaint
from napari_dip.engine.tasks.super_resolve import SuperResolve
from napari_dip.engine.tasks.task import InUnits, Task

__all__ = [
    "TASKS",
    "Cartoon",
    "Deblock",
    "Deconvolve",
    "Denoise",
    "Enhance",
    "Guided",
    "InUnits",
    "Inpaint",
    "SuperResolve",
    "Task",
]

TASKS = (Denoise, Inpaint, SuperResolve, Deblock, Enhance, Guided, Deconvolve)
