"""The worker's side of a run, called without a window: what it tells, when, and that it never raises."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from small import TINY, picture

import napari_dip as dip
from napari_dip.gui import worker
from napari_dip.gui.layers import origin
from napari_dip.gui.widget import duration, progress_text
from napari_dip.gui.worker import Canvas, Done, Failure, Message, Preview, Request, Tick, work

pytestmark = pytest.mark.usefixtures("qapp")


def request_for(image: Any, steps: int = 20, **settings: Any) -> Request:
    chosen = origin(Image(image, name="cells", rgb=settings.pop("rgb", False)), None)
    given = {"task": dip.Denoise(), "device": "cpu", "seed": 0, "dtype": "source", "keep_every": 0, **settings}
    return Request(origin=chosen, prior=TINY, stop=dip.FixedSteps(steps=steps), **given)


def messages(request: Request, control: dip.Control | None = None, *, is_shown: bool = True) -> Iterator[Message]:
    """The worker's messages, and a window that shows each preview at once."""
    shown = threading.Event()
    shown.set()
    for message in work(request, control or dip.Control(), shown):
        if is_shown and isinstance(message, Preview):
            shown.set()
        yield message


def test_a_run_ends_with_the_result_that_the_library_gives() -> None:
    image = picture(32, 32)
    done = list(messages(request_for(image)))[-1]
    assert isinstance(done, Done)
    alone = dip.restore(image, dip.Denoise(), TINY, dip.FixedSteps(steps=20), device="cpu")
    np.testing.assert_array_equal(done.result.image, alone.image)


def test_the_first_preview_comes_within_two_seconds_and_then_at_most_five_a_second() -> None:
    times, first = [], None
    for message in messages(request_for(picture(32, 32), steps=400)):
        if isinstance(message, Tick) and first is None:
            first = time.perf_counter()
        if isinstance(message, Preview):
            times.append(time.perf_counter())
    assert first is not None
    assert times[0] - first < 2
    assert len(times) >= 3
    assert min(np.diff(times)) > 0.19


def test_exposures_of_one_scene_become_one_plane_of_their_layer() -> None:
    layer = Image(picture(4, 32, 32), name="exposures", scale=(2, 3, 3))
    chosen = origin(layer, (1, -1, -1), frames=0)
    asked = Request(
        origin=chosen, task=dip.Denoise(frames="T"), prior=TINY, stop=dip.FixedSteps(steps=20), device="cpu"
    )
    first, *_, last = messages(asked)
    assert isinstance(first, Canvas)
    assert first.image.shape == (32, 32)
    assert isinstance(last, Done)
    assert last.result.frames is not None
    assert last.result.frames["count"] == 4
    made = chosen.layer(last.result.image, "restored", {})
    assert made.data.shape == (1, 32, 32)
    assert made.translate[0] == 2


def test_a_window_that_has_not_shown_a_preview_gets_no_second_one() -> None:
    found = [m for m in messages(request_for(picture(32, 32), steps=300), is_shown=False) if isinstance(m, Preview)]
    assert len(found) == 1


def test_a_preview_is_the_windows_own_and_has_the_results_type() -> None:
    image = np.clip(picture(32, 32), 0, 255).astype(np.uint8)
    found = [m for m in messages(request_for(image, steps=300)) if isinstance(m, Preview)]
    assert found[0].image.dtype == np.uint8
    assert not np.shares_memory(found[0].image, found[1].image)
    assert (found[0].image != found[1].image).any()


def test_the_canvas_is_a_copy_of_the_source() -> None:
    image = picture(32, 32)
    first = next(messages(request_for(image)))
    assert isinstance(first, Canvas)
    assert not np.shares_memory(first.image, image)


def test_a_paused_run_gives_signs_of_life_and_takes_no_step() -> None:
    control, seen = dip.Control(), []
    for message in messages(request_for(picture(32, 32), steps=10_000), control):
        if isinstance(message, Tick):
            seen.append(message)
            control.pause()
        if len(seen) > 6:
            control.stop()
    assert {tick.phase for tick in seen[2:-1]} == {"paused"}
    assert len({tick.step for tick in seen[2:-1]}) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("boom"), "Something unexpected failed (RuntimeError): boom"),
        (dip.RestorationError("Lower the learning rate"), "Lower the learning rate"),
        (ValueError("Too few known pixels"), "Too few known pixels"),
        (MemoryError(), "Not enough memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 3 GiB"), "Not enough memory: CUDA out of memory"),
        (KeyError("x"), "Something unexpected failed (KeyError)"),
    ],
)
def test_every_failure_is_a_message_in_words(monkeypatch: Any, error: Exception, said: str) -> None:
    def fails(*_: Any, **__: Any) -> Iterator[dip.Progress]:
        raise error
        yield

    monkeypatch.setattr(worker.dip, "iter_restore", fails)
    last = list(messages(request_for(picture(32, 32))))[-1]
    assert isinstance(last, Failure)
    assert last.message.startswith(said)
    assert last.partial is None


def test_a_run_that_fails_on_its_way_keeps_what_it_had(monkeypatch: Any) -> None:
    real = dip.iter_restore

    def fails(*given: Any, **settings: Any) -> Iterator[dip.Progress]:
        for progress in real(*given, **settings):
            yield progress
            if progress.step == 15:
                raise RuntimeError("the device was lost")

    monkeypatch.setattr(worker.dip, "iter_restore", fails)
    last = list(messages(request_for(picture(32, 32))))[-1]
    assert isinstance(last, Failure)
    assert last.partial is not None
    assert last.partial.image.shape == (32, 32)


def tick(**settings: Any) -> Tick:
    given = {"phase": "fitting", "frame": 0, "frames": 1, "step": 840, "about": 1200, "rate": 41.0, **settings}
    return Tick(**given)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "840 of about 1,200 · 41 steps/s · 9 s left"),
        ({"rate": 0.0}, "840 of about 1,200"),
        ({"rate": 0.5}, "840 of about 1,200 · 0.5 steps/s · 12 min 0 s left"),
        ({"phase": "preparing", "step": 0, "prepared": 0.0}, "making the pilot"),
        ({"phase": "preparing", "step": 0, "prepared": 1 / 3}, "making the pilot, 33%"),
        ({"phase": "paused", "rate": 0.0}, "840 of about 1,200 · paused"),
        (
            {"frames": 40, "frame": 2, "rate": 100.0},
            "plane 3 of 40 · 840 of about 1,200 · 100 steps/s · 7 min 28 s left",
        ),
    ],
)
def test_the_progress_reads_well(settings: dict[str, Any], text: str) -> None:
    assert progress_text(tick(**settings)) == text


def test_long_times_are_told_in_hours() -> None:
    assert duration(3900) == "1 h 5 min"
