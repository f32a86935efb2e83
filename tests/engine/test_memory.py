"""Memory is known before it is used; what is too large is fitted in tiles."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from ready import LITTLE
from scenes import SMALL, textured

import napari_dip as dip
from napari_dip.engine import devices, frame, run
from napari_dip.engine.memory import needed, plan

MEASURED = """
import sys
import numpy as np
import napari_dip as dip
size, prior = int(sys.argv[1]), dip.Prior()
rule = dip.HeldOut(floor=10, ceiling=10, every=10, reveal=0.0)
image = np.random.default_rng(0).random((size, size), np.float32)
asked = {"preset": dip.Preset("some", prior, starts=int(sys.argv[2])), "stop": rule, "device": "cpu"}

def kilobytes(name):
    status = open("/proc/self/status").read()  # the resource module's peak begins at the parent's
    return int(status.split(name + ":")[1].split()[0])

dip.restore(image[:32, :32], **asked)
before = kilobytes("VmRSS")
plan = dip.memory_plan(image, **asked)
dip.restore(image, **asked)
print(plan.abreast, plan.needed, 1024 * (kilobytes("VmHWM") - before))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the process's memory from /proc")
@pytest.mark.parametrize(("size", "fits", "more"), [(448, 1, 1.2), (320, 2, 1.5)])
def test_the_memory_of_a_fit_is_predicted_within_a_fifth_of_two_not_always_at_their_most_at_once(size, fits, more):
    asked = [sys.executable, "-c", MEASURED, str(size), str(fits)]
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    ran = subprocess.run(asked, capture_output=True, text=True, check=True, env=environment)
    abreast, predicted, used = map(int, ran.stdout.split())
    assert abreast == fits
    assert 0.8 * used < predicted < more * used


FILLED = """
import resource
import torch
import napari_dip as dip
from napari_dip.engine.filling import fill
from napari_dip.engine.memory import FILLING, needed
from napari_dip.engine.work import finished

def filled(side):
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(3, side, side, generator=generator)
    weight = (torch.rand(1, side, side, generator=generator) < 0.6).float().expand(3, -1, -1)
    problem = dip.Problem(y * weight, tuple(y.shape), weight=weight)
    assert finished(fill(problem, dip.HeldOut().start(problem, 0)[0])) is not None

filled(32)
rss = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
filled(128)
status = open("/proc/self/status").read()
prior = dip.Prior(dip.Skip(down=(4,), up=4))
sizes = [needed((prior,), (3, 128, 128), guides=0, precision=torch.float32, ahead=one) for one in (FILLING, None)]
print(*sizes, 1024 * int(status.split("VmHWM:")[1].split()[0]) - rss)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the process's memory from /proc")
def test_the_memory_that_similar_patches_of_missing_pixels_take_is_counted():
    ran = subprocess.run([sys.executable, "-c", FILLED], capture_output=True, text=True, check=True)
    predicted, without, used = map(int, ran.stdout.split())
    assert without < predicted
    assert used < predicted < without + 4 * used


def test_less_is_told_where_nothing_judges_the_steps_and_the_run_counts_alike(monkeypatch):
    plans = []

    def planned(*args, **kwargs):
        plans.append(plan(*args, **kwargs))
        return plans[-1]

    monkeypatch.setattr(run, "plan", planned)
    image, rules = textured(96, 96), (dip.HeldOut(), dip.FixedSteps(1))
    told = [dip.memory_plan(image, stop=rule, preset="plain", max_memory=64) for rule in rules]
    assert told[0].needed > told[1].needed
    for rule in rules:
        dip.restore(image, stop=rule, preset="plain", max_memory=64, max_steps=1)
    assert told == plans


@pytest.mark.parametrize("rule", [dip.FixedSteps(1), dip.HeldOut(floor=2, ceiling=2), dip.WindowedVariance()])
@pytest.mark.parametrize(
    "task",
    [dip.Denoise(), dip.Inpaint(np.eye(64) > 0), dip.SuperResolve(2), dip.Guided(guide=textured(64, 64))],
    ids=lambda task: type(task).__name__,
)
def test_pilot_and_members_are_told_of_only_with_a_rule_that_hides_pixels_for_them(task, rule, monkeypatch):
    plans = []

    def planned(*args, **kwargs):
        plans.append(plan(*args, **kwargs))
        return plans[-1]

    monkeypatch.setattr(run, "plan", planned)
    noisy = textured(64, 64) + np.random.default_rng(0).normal(0, 20, (64, 64)).astype(np.float32)
    asked = {"preset": LITTLE, "stop": rule, "max_memory": 64}
    told = dip.memory_plan(noisy, task, **asked)
    dip.restore(noisy, task, **asked, max_steps=2)
    assert plans == [told]


@pytest.mark.parametrize("preset", ["standard", "plain"])
def test_missing_pixels_are_filled_only_after_memory_for_it_was_planned(preset, monkeypatch):
    events = []

    def planned(*args, **kwargs):
        events.append(plan(*args, **kwargs))
        return events[-1]

    def filled(*args):
        events.append("filling")
        return fill(*args)

    fill = frame.fill
    monkeypatch.setattr(run, "plan", planned)
    monkeypatch.setattr(frame, "fill", filled)
    image = textured(48, 64)
    image[::5, ::3] = np.nan
    told = dip.memory_plan(image, dip.Inpaint(), preset=preset, max_memory=64)
    dip.restore(image, dip.Inpaint(), preset=preset, max_memory=64, max_steps=1)
    assert events == ([told, "filling"] if preset == "standard" else [told])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc keeps memory")
def test_memory_is_kept_in_the_main_thread_alone_and_given_back(monkeypatch):
    told, cpu = [], torch.device("cpu")

    class Glibc:
        def mallopt(self, name, value):
            told.append((name, value))

        def malloc_trim(self, pad):
            told.append("trim")

    monkeypatch.setattr(devices, "_glibc", Glibc)
    with devices.memory_kept(cpu):
        assert told == list(devices.KEEPING.items())
    assert told[-4:] == [*devices.GIVING_BACK.items(), "trim"]
    told.clear()
    with pytest.raises(KeyError), devices.memory_kept(cpu):
        raise KeyError
    assert told[-4:] == [*devices.GIVING_BACK.items(), "trim"]
    told.clear()

    def elsewhere():
        with devices.memory_kept(cpu):
            told.append(devices.keeps(cpu))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert told == [False]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc keeps memory")
def test_memory_is_spared_where_there_are_tiles_and_kept_again_after_them(monkeypatch):
    told = []

    class Glibc:
        def mallopt(self, name, value):
            told.append((name, value))

        def malloc_trim(self, pad):
            pass

    def options():
        return dict(told)

    monkeypatch.setattr(devices, "_glibc", Glibc)
    with devices.memory_kept(torch.device("cpu")):
        with devices.memory_spared(torch.device("cpu")):
            assert options() | devices.SPARING == options()
        assert options() | devices.KEEPING == options()
        with pytest.raises(KeyError), devices.memory_spared(torch.device("cpu")):
            raise KeyError
        assert options() | devices.KEEPING == options()
    assert options() | devices.GIVING_BACK == options()

    rule = dip.HeldOut(floor=2, ceiling=2)
    for tile in (None, 128):
        told.clear()
        dip.restore(textured(64, 160), preset="plain", stop=rule, tile=tile)
        assert (devices.MAPPED_FROM in options()) == (tile is not None)


def test_blocks_that_are_kept_count_where_maps_are_large():
    def with_and_without(side):
        return [
            needed((dip.Prior(),), (1, side, side), guides=0, precision=torch.float32, keeps=keeps)
            for keeps in (True, False)
        ]

    small, large = with_and_without(256), with_and_without(1024)
    assert small[0] == small[1], "blocks of up to 32 MiB are kept anyway"
    assert 1.2 * large[1] < large[0] < 1.5 * large[1]
    assert small[0] < large[0] / 8


def test_fits_of_large_images_go_one_after_another_which_takes_less(monkeypatch):
    def told(side, abreast):
        return plan((SMALL, SMALL), (1, side, side), guides=0, precision=torch.float32, free=None, abreast=abreast)

    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert (told(511, 2).abreast, told(512, 2).abreast) == (2, 1)
    assert told(512, 2).needed == told(512, 1).needed < told(511, 2).needed
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    assert told(512, 2).abreast == 2, "eight threads each have little to do"


def test_of_fits_at_a_time_no_more_count_than_there_are():
    one, two, of_one = (
        needed((SMALL,) * count, (1, 64, 64), guides=0, precision=torch.float32, abreast=abreast)
        for count, abreast in ((2, 1), (2, 2), (1, 2))
    )
    assert one == of_one < two


def test_what_one_denoiser_left_is_given_back_before_the_next_begins(monkeypatch):
    trimmed = []
    monkeypatch.setattr(devices, "trim", lambda: trimmed.append(1))
    image = np.random.default_rng(0).normal(100, 20, (64, 64)).astype(np.float32)
    preset = dip.Preset("both", SMALL, members=(SMALL,), collaborative=True, passes=1)
    run = dip.iter_restore(image, preset=preset, max_steps=2)
    next(now for now in run if now.phase != "preparing")
    assert len(trimmed) >= 6  # two denoisers, of the image, without held-out pixels, and moved a little


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
    whole = dip.memory_plan(image, device="cpu", max_memory=64)
    assert whole.tile is None
    smaller = dip.memory_plan(image, device="cpu", max_memory=0.6)
    assert 64 <= smaller.tile < 1024
    assert smaller.needed < whole.needed
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
