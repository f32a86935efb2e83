"""Memory is known before it is used; what is too large is fitted in tiles."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from scenes import SMALL, textured

import napari_dip as dip
from napari_dip.engine import devices, run
from napari_dip.engine.memory import needed

MEASURED = """
import resource, sys
import numpy as np
import napari_dip as dip
size = int(sys.argv[1])
image = np.random.default_rng(0).random((size, size), np.float32)
dip.restore(image[:32, :32], prior=dip.Prior(), stop=dip.FixedSteps(2), device="cpu")
rss = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
plan = dip.memory_plan(image, prior=dip.Prior(), device="cpu")
dip.restore(image, prior=dip.Prior(), stop=dip.FixedSteps(2), device="cpu")
status = open("/proc/self/status").read()  # the resource module's peak begins at the parent's
print(plan.needed, 1024 * int(status.split("VmHWM:")[1].split()[0]) - rss)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the process's memory from /proc")
def test_the_memory_of_a_fit_is_predicted_within_a_fifth():
    ran = subprocess.run([sys.executable, "-c", MEASURED, "448"], capture_output=True, text=True, check=True)
    predicted, used = map(int, ran.stdout.split())
    assert 0.8 * used < predicted < 1.2 * used


def test_memory_grows_with_the_image_and_shrinks_with_its_tiles():
    sizes = [needed((SMALL,), (1, n, n), guides=0, precision=torch.float32) for n in (128, 256, 512)]
    assert sizes[0] < sizes[1] < sizes[2]
    tiled = needed((SMALL,), (1, 512, 512), guides=0, precision=torch.float32, tile=128)
    assert tiled < sizes[2]


def test_half_precision_takes_less():
    half, full = (needed((SMALL,), (1, 512, 512), guides=0, precision=p) for p in (torch.bfloat16, torch.float32))
    assert half < full


def test_a_plan_takes_tiles_only_where_memory_wants_them():
    image = np.broadcast_to(np.float32(0), (1024, 1024))
    plan = dip.memory_plan(image, device="cpu", max_memory=64)
    assert plan.tile is None
    smaller = dip.memory_plan(image, device="cpu", max_memory=0.6)
    assert 64 <= smaller.tile < 1024
    assert smaller.needed < plan.needed
    assert f"in tiles of {smaller.tile} px" in str(smaller)


def test_a_run_within_little_memory_is_fitted_in_tiles_and_says_so():
    result = dip.restore(textured(64, 96), prior=SMALL, stop=dip.FixedSteps(2), max_memory=0.01)
    assert result.fits[0].tile == 64
    assert any("tiles of 64 px" in note for note in result.notes)
    assert result.report()["settings"]["max_memory"] == 0.01


def test_free_memory_is_less_than_all_of_it():
    cpu = torch.device("cpu")
    assert 0 < devices.free_memory(cpu) < devices.memory(cpu)


def test_a_fit_that_runs_out_of_memory_is_begun_again_in_smaller_tiles(monkeypatch):
    sides = []

    def greedy(self, *args, **kwargs):
        sides.append(self.tile)
        if self.tile is None or self.tile > 100:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return original(self, *args, **kwargs)

    original = run.FrameFit.restored
    monkeypatch.setattr(run.FrameFit, "restored", greedy)
    result = dip.restore(textured(64, 200), prior=SMALL, stop=dip.FixedSteps(2))
    assert sides == [None, 100]
    assert result.fits[-1].tile == 100
    assert any("Memory ran out" in note for note in result.notes)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads have priorities of their own there only")
def test_a_fit_gives_way_in_its_own_thread_alone():
    def priority():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before, seen = priority(), []
    thread = threading.Thread(target=lambda: (devices.give_way(), seen.append(priority())))
    thread.start()
    thread.join()
    devices.give_way()
    assert seen == [devices.BEHIND]
    assert priority() == before
