"""Several works side by side, each on its share of the processor's threads."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")

AHEAD = 2  # times as many works are begun as there are threads, so that none waits for what is done in order


def abreast(works: Iterable[Iterator[T]], most: int) -> Iterator[T]:
    """Yield what some iterators yield as it comes, so many of them advanced at a time; the next begins as one ends.

    The first items come in the order of the works, however long each takes to begin.

    Small convolutions gain little from more threads: two works on one thread each are done sooner than one after the
    other on both. What a work computes depends on its number of threads alone: the same bits come every time.

    Parameters
    ----------
    works : iterable of iterator
        Of anything but None. Each is at most one item ahead of what was taken of it, and never advanced by two threads
        at a time.
    most : int
        How many share the threads that the caller has; 1: one after another, in the caller's own thread.
    """
    if most == 1:
        yield from itertools.chain.from_iterable(works)
        return
    waiting, under_way = iter(works), dict[Future[T | None], Iterator[T]]()
    with threads(most) as pool:
        for work in itertools.islice(waiting, most):
            under_way[pool.submit(next, work, None)] = work
        unheard = deque(under_way)
        while under_way:
            for future in [unheard.popleft()] if unheard else wait(under_way, return_when=FIRST_COMPLETED).done:
                work, item = under_way.pop(future), future.result()
                if item is not None:
                    yield item
                    under_way[pool.submit(next, work, None)] = work
                elif (following := next(waiting, None)) is not None:
                    unheard.append(pool.submit(next, following, None))
                    under_way[unheard[-1]] = following


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of so many threads, among which PyTorch's threads of this one are shared out."""
    all_of_them, ready = torch.get_num_threads(), threading.Barrier(count + 1)

    def begin() -> None:
        torch.get_num_threads()  # once in its life a thread takes over the process's number, whatever it was set to
        torch.set_num_threads(max(1, all_of_them // count))
        ready.wait()

    with ThreadPoolExecutor(count, initializer=begin) as pool:
        for _ in range(count):
            pool.submit(int)
        ready.wait()
        torch.set_num_threads(all_of_them)  # what was set last is what threads that begin later take over
        yield pool


def in_order(work: Callable[[int], T], then: Callable[[T], None], count: int, most: int) -> None:
    """Do some work for each number from 0 on, below a count, and something with what comes of it, in this order.

    Operations that take microseconds are sooner done on a thread for each number than each on all threads: these wait
    for each other after every one, on a busy machine for milliseconds.

    Parameters
    ----------
    work : callable
        Of a number; its calls do not depend on each other.
    then : callable
        Of what came of it; never called twice at a time.
    count : int
        How many numbers.
    most : int
        How many are worked on at a time, at most; each has its share of PyTorch's threads. 1: in the caller's own.
    """
    if (most := min(most, count, torch.get_num_threads())) <= 1:
        for number in range(count):
            then(work(number))
        return
    with threads(most) as pool:
        begun: deque[Future[T]] = deque()
        for number in range(count + AHEAD * most):
            if number < count:
                begun.append(pool.submit(work, number))
            if number >= AHEAD * most and begun:
                pool.submit(then, begun.popleft().result()).result()
