"""A viewer, the widget in it, and ways to wait for its runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from small import fast, picture

from napari_dip.gui.widget import DeepImagePrior
from napari_dip.io import settings


@pytest.fixture(autouse=True)
def _no_old_notifications() -> None:
    """Start with none, so that a test sees its own only."""
    notification_manager.records.clear()


@pytest.fixture(autouse=True)
def _no_settings_of_earlier_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of runs away from those of whoever runs the tests."""
    monkeypatch.setattr(settings, "place", lambda: tmp_path / "config" / "last-run.json")


@pytest.fixture
def model(qapp: Any) -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def unplaced(model: ViewerModel, qtbot: Any) -> DeepImagePrior:
    """The widget on a viewer without a window."""
    widget = DeepImagePrior(model)
    qtbot.addWidget(widget)
    return widget


@pytest.fixture
def viewer(make_napari_viewer: Any) -> Any:
    return make_napari_viewer(show=True)


@pytest.fixture
def docked(viewer: Any) -> DeepImagePrior:
    """The widget docked in a real window that shows one image, set to a small fit."""
    return dock(viewer)


@pytest.fixture
def unseen(make_napari_viewer: Any) -> DeepImagePrior:
    """The same in a window that is not shown, for tests that remove layers.

    napari 0.9.2 and Mesa crash in glDrawArrays when one of two image layers is removed and the other is drawn.
    """
    return dock(make_napari_viewer(show=False))


def dock(viewer: Any) -> DeepImagePrior:
    viewer.add_image(picture(32, 32), name="cells")
    widget = DeepImagePrior(viewer)
    viewer.window.add_dock_widget(widget, name="Deep image prior", area="right")
    return fast(widget)


@pytest.fixture
def ends(qtbot: Any) -> Callable[..., None]:
    """Wait until a widget's run has ended and its thread is gone."""

    def wait(widget: DeepImagePrior, seconds: float = 30) -> None:
        session = widget.session
        assert session is not None
        qtbot.waitUntil(lambda: not session.is_busy and session not in session._alive, timeout=int(seconds * 1000))

    return wait


@pytest.fixture
def steps_taken(qtbot: Any) -> Callable[..., None]:
    """Wait until a widget's run has told of its first step."""

    def wait(widget: DeepImagePrior) -> None:
        session = widget.session
        assert session is not None
        qtbot.waitUntil(lambda: session.last is not None, timeout=30_000)

    return wait
