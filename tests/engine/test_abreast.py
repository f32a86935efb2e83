from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_dip as dip
from napari_dip.engine import devices
from napari_dip.engine.abreast import abreast, in_order
from napari_dip.engine.presets import choose_preset as by_name

CPU = torch.device("cpu")


def counting(name, items):
    for item in range(items):
        yield name, item


@pytest.mark.parametrize("most", [1, 2, 3])
def test_every_item_of_every_work_comes_in_the_works_own_order(most):
    lengths = {"a": 5, "b": 0, "c": 9, "d": 2}
    found = list(abreast((counting(name, n) for name, n in lengths.items()), most))
    for name, n in lengths.items():
        assert [item for one, item in found if one == name] == list(range(n))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_what_comes_of_each_number_comes_in_order_made_on_a_share_of_the_threads(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    waiting, most = [], []

    def work(number):
        waiting.append(number)
        most.append(len(waiting))
        time.sleep(0.02 if number == 0 else 0.001)
        waiting.remove(number)
        return number, torch.get_num_threads()

    def then(made):
        order.append(made)
        shares.append(torch.get_num_threads())

    order, shares = [], []
    try:
        in_order(work, then, 7, most=2)
        assert order == [(number, 1) for number in range(7)]
        assert set(shares) == {1}
        assert max(most) == min(2, threads)
        in_order(work, then, 0, most=2)
        assert len(order) == 7
        with pytest.raises(ZeroDivisionError):
            in_order(lambda number: 1 / (number - 1), then, 4, most=2)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_one_work_does_not_wait_for_another():
    first, second = threading.Event(), threading.Event()

    def waits_for(other, own):
        own.set()
        yield other.wait(10)

    assert list(abreast(iter([waits_for(second, first), waits_for(first, second)]), 2)) == [True, True]


def test_the_first_items_come_in_the_order_of_the_works_though_the_first_work_is_slow_to_begin():
    def work(name, seconds):
        time.sleep(seconds)
        yield from counting(name, 3)

    found = list(abreast(iter([work("a", 0.2), work("b", 0), work("c", 0)]), 2))
    assert found[:2] == [("a", 0), ("b", 0)]
    assert sorted(found) == [(name, item) for name in "abc" for item in range(3)]


def test_no_more_works_are_begun_than_are_wanted_at_a_time():
    running, most = set(), []

    def work(name):
        running.add(name)
        for _ in range(5):
            most.append(len(running))
            time.sleep(0.001)
            yield name
        running.remove(name)

    assert len(list(abreast((work(name) for name in range(6)), 2))) == 30
    assert max(most) == 2


def test_the_callers_threads_are_shared_out_and_stay_its_own(threads):
    threads(2)

    def count():
        yield torch.get_num_threads()

    assert list(abreast((count() for _ in range(4)), 2)) == [1] * 4
    assert list(abreast((count() for _ in range(4)), 1)) == [2] * 4
    found = []
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert (torch.get_num_threads(), found) == (2, [2])


def test_an_error_of_a_work_is_the_callers_and_no_thread_stays():
    def fails():
        yield 1
        raise ValueError("broken")

    before = threading.active_count()
    with pytest.raises(ValueError, match="broken"):
        list(abreast(iter([counting("a", 1000), fails()]), 2))
    assert threading.active_count() == before


def test_what_is_left_half_way_ends_its_threads():
    before = threading.active_count()
    works = abreast((counting(name, 1000) for name in "abc"), 2)
    next(works)
    works.close()
    assert threading.active_count() == before


def test_members_fitted_side_by_side_are_those_that_one_thread_fits(threads):
    threads(2)
    image = np.random.default_rng(0).normal(100, 20, (48, 48)).astype(np.float32)
    assert devices.abreast(CPU, 2) == 2
    both = dip.restore(image, max_steps=12)
    threads(1)
    assert devices.abreast(CPU, 2) == 1
    alone = dip.restore(image, max_steps=12)
    assert (both.machine["abreast"], alone.machine["abreast"]) == (2, 1)
    assert [fit.scores for fit in both.fits] == [fit.scores for fit in alone.fits]
    assert len(both.fits) == 2


def test_the_steps_of_members_side_by_side_only_grow_and_come_to_what_was_expected(threads):
    threads(2)
    image = np.random.default_rng(0).normal(100, 20, (48, 48)).astype(np.float32)
    seen = [now for now in dip.iter_restore(image, max_steps=12) if now.phase != "preparing"]
    assert [now.step for now in seen] == sorted(now.step for now in seen)
    assert seen[-1].step == seen[-1].expected == seen[-1].restoration().taken
    leaders = [now.fit.member for now in seen]
    assert leaders == sorted(leaders), "one member is told of until it ends"


def test_one_member_is_told_of_until_it_ends_when_the_pixels_held_out_are_shown_too(threads):
    threads(2)
    image = np.random.default_rng(0).normal(100, 20, (48, 48)).astype(np.float32)
    rule = dip.HeldOut(every=5, floor=10, patience=10, ceiling=20, reveal=1)
    seen = [now for now in dip.iter_restore(image, stop=rule) if now.phase != "preparing"]
    assert all(fit.revealed >= 10 for fit in seen[-1].restoration().fits)
    leaders = [now.fit.member for now in seen]
    assert leaders == sorted(leaders)


def test_a_stop_ends_all_members_and_the_first_counts(threads):
    threads(2)
    control = dip.Control()
    image = np.random.default_rng(0).normal(100, 20, (48, 48)).astype(np.float32)
    for now in dip.iter_restore(image, control=control):
        if now.step >= 20:
            control.stop()
    result = now.restoration()
    assert result.ended == "stopped by the user"
    assert {fit.member for fit in result.fits} == {0}
    assert result.taken < 40


class SecondEndsFirst(dip.HeldOut):
    """Scores that fall for ever, but for the second member, whose scores rise."""

    def start(self, problem, seed):
        hidden, _ = super().start(problem, seed)
        self.__dict__["starts"] = index = self.__dict__.get("starts", -1) + 1  # the pilot's is the first
        return hidden, lambda iterate: torch.tensor(float(iterate.step if index == 2 else -iterate.step))


def test_a_member_that_ended_before_the_others_counts_alone_and_the_notes_say_so(threads, recwarn):
    threads(2)
    control = dip.Control()
    image = np.random.default_rng(0).normal(100, 20, (48, 48)).astype(np.float32)
    rule = SecondEndsFirst(every=5, floor=10, patience=10, ceiling=100_000, reveal=0)
    for now in dip.iter_restore(image, preset=replace(by_name("standard"), most=None), stop=rule, control=control):
        if now.step >= 60 and {fit.member for fit in now.restoration().fits} == {1}:  # both have begun by then
            control.stop()
    result = now.restoration()
    assert [fit.member for fit in result.fits] == [1]
    assert result.fits[0].share == 1
    assert "Made of one fit and a closed-form pilot" in " ".join(result.notes)
    assert "Networks, whose spectral bias [2] keeps noise out until they are stopped: 1 x Skip fed with noise" in (
        dip.methods_text(result.report())
    )
    assert not recwarn.list
