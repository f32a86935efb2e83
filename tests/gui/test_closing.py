"""Whatever is closed during a run, its thread ends soon, and nothing that holds the viewer is left."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QThreadPool
from small import fast, picture

from napari_dip.gui.session import Session
from napari_dip.gui.widget import DeepImagePrior

Ends = Callable[..., None]


def start(docked: DeepImagePrior, steps_taken: Ends) -> Session:
    fast(docked, steps=100_000).run()
    steps_taken(docked)
    assert docked.session is not None
    return docked.session


def test_closing_the_dock_ends_the_run_and_keeps_its_result(
    docked: DeepImagePrior, steps_taken: Ends, qtbot: Any
) -> None:
    viewer, session = docked.viewer, start(docked, steps_taken)
    dock = docked.parentWidget()
    started = time.perf_counter()
    dock.destroyOnClose()  # type: ignore[union-attr]
    del dock
    qtbot.waitUntil(lambda: session not in Session._alive, timeout=5000)
    assert time.perf_counter() - started < 1
    assert session.state == "stopped"
    assert "cells – denoised" in viewer.layers
    viewer.layers["cells"].name = "the closed dock does not listen any more"
    viewer.add_image(picture(3, 32, 32))
    viewer.dims.set_current_step(0, 2)
    viewer.theme = "light"
    qtbot.wait(100)


def test_a_dock_that_nobody_holds_any_more_still_gives_its_result(viewer: Any, qtbot: Any) -> None:
    viewer.add_image(picture(32, 32), name="cells")
    viewer.window.add_dock_widget(fast(DeepImagePrior(viewer), steps=100_000), name="Deep image prior")
    viewer.window.dock_widgets["Deep image prior"].run()
    (session,) = Session._alive
    qtbot.waitUntil(lambda: session.last is not None, timeout=30_000)
    viewer.window.remove_dock_widget("all")
    gc.collect()
    qtbot.waitUntil(lambda: session not in Session._alive, timeout=5000)
    assert "cells – denoised" in viewer.layers


def test_hiding_the_dock_does_not_stop_the_run(
    docked: DeepImagePrior, steps_taken: Ends, ends: Ends, qtbot: Any
) -> None:
    session = start(docked, steps_taken)
    dock = docked.parentWidget()
    assert dock is not None
    dock.hide()
    qtbot.wait(300)
    before = session.last
    qtbot.waitUntil(lambda: session.last is not before, timeout=2000)
    assert session.state == "running"
    dock.show()
    docked.stop()
    ends(docked)


def test_closing_the_viewer_ends_the_run(docked: DeepImagePrior, steps_taken: Ends, qtbot: Any) -> None:
    session = start(docked, steps_taken)
    viewer = docked.viewer
    started = time.perf_counter()
    viewer.close()
    assert QThreadPool.globalInstance().waitForDone(2000)  # type: ignore[union-attr]
    assert time.perf_counter() - started < 2
    qtbot.waitUntil(lambda: session not in Session._alive, timeout=2000)


def test_closing_the_viewer_while_paused_ends_the_run(docked: DeepImagePrior, steps_taken: Ends, qtbot: Any) -> None:
    session = start(docked, steps_taken)
    docked.toggle_pause()
    qtbot.wait(200)
    docked.viewer.close()
    assert QThreadPool.globalInstance().waitForDone(2000)  # type: ignore[union-attr]
    qtbot.waitUntil(lambda: session not in Session._alive, timeout=2000)


def test_the_application_quits_during_a_run() -> None:
    """In a process of its own, which must end by itself."""
    code = """
        import time, napari
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QApplication
        from small import fast, picture, picture
        from napari_dip.gui.widget import DeepImagePrior

        viewer = napari.Viewer()
        viewer.add_image(picture(32, 32))
        widget = DeepImagePrior(viewer)
        viewer.window.add_dock_widget(widget)
        fast(widget, steps=1_000_000).run()

        def leave():
            if widget.session.last is None:
                return
            timer.stop()
            print("quits", flush=True)
            leave.at = time.perf_counter()
            QApplication.quit()

        timer = QTimer()
        timer.timeout.connect(leave)
        timer.start(50)
        napari.run()
        print("left after", time.perf_counter() - leave.at, flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=Path(__file__).parent, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "quits" in done.stdout
    assert float(done.stdout.split()[-1]) < 3
