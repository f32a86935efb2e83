from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

import napari_dip as dip
from napari_dip.engine.outcome import settings_of

TINY = dip.Prior(network=dip.Skip(down=(8, 8), up=8, skip=2), source=dip.Noise(channels=4))
FAST = dip.FixedSteps(steps=20)
IMAGE = np.random.default_rng(0).normal(100, 10, (24, 20)).astype(np.float32)


def report(task: dip.Task, image: Any = IMAGE, **settings: Any) -> Any:
    """A run's report, as a file would have it."""
    return json.loads(json.dumps(dip.restore(image, task, **{"prior": TINY, "stop": FAST, **settings}).report()))


def as_json(task: dip.Task) -> Any:
    """A task in a form that can be compared: many have arrays, and no equality."""
    return settings_of(task)


@pytest.mark.parametrize(
    "task",
    [
        dip.Denoise(noise=dip.PoissonGaussian(2.0, 3.0), stripes="rows"),
        dip.SuperResolve(factor=(1.5, 2.0), degradation=dip.GaussianBlur()),
        dip.Deconvolve(model=dip.MoffatPSF(fwhm=2.5)),
        dip.Enhance(amount=3.0),
    ],
    ids=lambda task: type(task).__name__,
)
def test_a_report_gives_back_what_was_asked_for(task: dip.Task) -> None:
    settings = {"dtype": "float32", "saturation": 180.0, "tile": 64, "outliers": dip.Outliers()}
    found = dip.recipe(report(task, seed=7, keep_every=10, **settings))
    assert (as_json(found.task), found.prior, found.stop) == (as_json(task), TINY, FAST)
    assert (found.seed, found.keep_every, found.arrays) == (7, 10, ())
    assert {name: getattr(found, name) for name in settings} == settings


def test_the_tables_of_a_jpeg_come_back() -> None:
    file = io.BytesIO()
    scene = 100 + 50 * np.add.outer(np.sin(np.arange(24) / 3), np.cos(np.arange(24) / 3))
    Image.fromarray(scene.astype(np.uint8)).save(file, "jpeg", quality=40)
    opened = Image.open(file)
    task = dip.Deblock(tables=dip.JpegTables(tuple(opened.quantization[0])))
    assert as_json(dip.recipe(report(task, np.asarray(opened))).task) == as_json(task)


def test_numbers_of_numpy_come_back_as_numbers() -> None:
    task = dip.Denoise(noise=dip.Gaussian(np.float32(10)))  # type: ignore[arg-type]
    found = dip.recipe(report(task, stop=dip.FixedSteps(np.int64(20))))  # type: ignore[arg-type]
    assert (found.task, found.stop) == (dip.Denoise(noise=dip.Gaussian(10.0)), FAST)


def test_what_was_left_to_the_preset_is_left_to_it_again() -> None:
    found = dip.recipe(report(dip.Denoise(), prior=None, stop=None, preset="quick", max_steps=10))
    assert (found.preset, found.prior, found.stop) == ("quick", None, None)


def test_the_same_again_has_the_same_bits() -> None:
    first = dip.restore(IMAGE, dip.Denoise(noise=dip.Gaussian(10.0)), TINY, FAST, seed=3)
    found = dip.recipe(first.report())
    again = dip.restore(IMAGE, found.task, found.prior, found.stop, preset=found.preset, seed=found.seed)
    np.testing.assert_array_equal(first.image, again.image)


def test_arrays_are_named_and_left_out() -> None:
    missing = IMAGE > 110
    found = dip.recipe(report(dip.Inpaint(missing)))
    assert as_json(found.task) == as_json(dip.Inpaint())
    assert found.arrays == ("mask",)
    law = dip.VarianceMap(np.full(IMAGE.shape, 9.0))
    found = dip.recipe(report(dip.Denoise(noise=law)))
    assert found.task == dip.Denoise()
    assert found.arrays == ("noise",)


def test_of_frames_the_law_that_was_given_comes_back_and_not_that_of_their_mean() -> None:
    scene = 100 * np.add.outer(np.sin(np.arange(24) / 3), np.cos(np.arange(20) / 3))
    frames = (scene + np.random.default_rng(1).normal(0, 10, (3, 24, 20))).astype(np.float32)
    task = dip.Denoise(noise=dip.Gaussian(10.0), frames="T")
    assert dip.recipe(report(task, frames, axes="TYX")).task == task


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {}},
        {"seed": None},
        {"task": {"name": "Popen", "args": ["ls"]}},
        {"task": {"name": "Gaussian", "sigma": 1.0}},
        {"task": {"name": "Denoise", "colour": 1}},
        {"stop": {"name": "Denoise"}},
        {"preset": "fastest"},
        {"dtype": "int8"},
        {"seed": -1},
        {"seed": 1e400},
        {"keep_every": -5},
        {"tile": 3},
        {"saturation": "abc"},
        {"prior": {"name": "Prior", "network": {"name": "Gaussian", "sigma": 1.0}}},
        {"prior": {"name": "Prior", "network": {"name": "Mine"}}},
    ],
)
def test_what_is_no_report_is_refused(change: dict[str, Any]) -> None:
    found = report(dip.Denoise())
    places = (found["settings"]["asked"], found, found["settings"])
    next(place for place in places if set(change) <= set(place)).update(change)
    with pytest.raises(ValueError, match=r"no report|no preset 'fastest'|none of napari-dip's own|to float"):
        dip.recipe(found)
