"""A problem on another device: all of it is there, so that no step of a fit waits for a copy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from ready import ready
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import napari_dip as dip
from napari_dip.engine import jpeg
from napari_dip.engine.fit import above
from napari_dip.engine.problem import Problem

META = torch.device("meta")
SHAPE = (32, 35)
GREY = 110 + 60 * np.sin(np.arange(35) / 5) * np.cos(np.arange(32) / 7)[:, None]


class Asked(dip.RestorationError):
    """Brings the problem that a run has made of an image."""


@dataclasses.dataclass(frozen=True)
class Ask(dip.FixedSteps):
    """A rule that takes the problem and ends the run."""

    def start(self, problem: Problem, seed: int) -> Any:
        raise Asked(problem)


def asked(progress: Callable[..., Any], *args: Any, **settings: Any) -> Problem:
    with pytest.raises(Asked) as error:
        next(progress(*args, stop=Ask(), device="cpu", **settings))
    problem: Problem = error.value.args[0]
    return problem


class Weighted(dip.Denoise):
    def problem(self, y: Tensor) -> Problem:
        return dataclasses.replace(super().problem(y), likelihood=dip.NoiseWeighted())


def of_a_task(kind: type) -> Problem:
    image, task = GREY.copy(), ready(kind, SHAPE)
    if kind is dip.Deblock:
        grey = torch.from_numpy(image[None]).float()
        image = jpeg.compressed(grey, dip.JpegTables.of_quality(20))[0].numpy()
    fields = {field.name for field in dataclasses.fields(task)}
    if "floor" in fields:
        task = dataclasses.replace(task, floor=0.0)
    if "noise" in fields:
        task = dataclasses.replace(task, noise=dip.PoissonGaussian(1.0, 2.0))
    image[3, 4] = np.nan
    return asked(dip.iter_restore, image, task)


def of_data() -> Problem:
    return asked(dip.iter_reconstruct, np.ones(20), lambda x: x.reshape(-1)[:20] + 1, SHAPE, span=(0, 1))


PROBLEMS: dict[str, Callable[[], Problem]] = {
    **{kind.__name__: partial(of_a_task, kind) for kind in dip.TASKS},
    "a weighted data term": partial(of_a_task, Weighted),
    "a map of the variance": lambda: asked(dip.iter_restore, GREY, dip.Denoise(noise=dip.VarianceMap(np.ones(SHAPE)))),
    "data of any shape": of_data,
}


def tensors(part: Any, seen: set[int]) -> Iterator[Tensor]:
    """Yield every tensor that can be reached from a thing, modules' globals left out."""
    if id(part) in seen:
        return
    seen.add(id(part))
    inner: list[Any] = []
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, partial):
        inner = [part.func, *part.args, *part.keywords.values()]
    elif isinstance(part, MethodType):
        inner = [part.__self__]
    elif isinstance(part, FunctionType):
        inner = [cell.cell_contents for cell in part.__closure__ or ()]
    elif isinstance(part, dict):
        inner = list(part.values())
    elif isinstance(part, (list, tuple)):
        inner = list(part)
    elif hasattr(part, "__dict__") and not isinstance(part, type):
        inner = list(vars(part).values())
    for one in inner:
        yield from tensors(one, seen)


class Copies(TorchDispatchMode):
    """Notes every operation that is given a tensor on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        self.found += [str(func)] * any(one.device.type == "cpu" for one in given)
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=PROBLEMS)
def moved(request: pytest.FixtureRequest) -> Problem:
    return PROBLEMS[request.param]().to(META)


def test_every_tensor_of_a_problem_goes_to_the_device(moved: Problem) -> None:
    found = list(tensors(moved, set()))
    assert len(found) >= 1
    assert {one.device for one in found} == {META}


def step(problem: Problem) -> None:
    x = torch.empty(problem.shape, device=META, requires_grad=True)
    predicted = problem.forward(x if problem.floor is None else above(x, problem.floor))
    problem.likelihood(predicted, problem.y, problem.weight).backward()


def test_but_for_the_first_no_step_takes_anything_from_elsewhere(moved: Problem) -> None:
    step(moved)  # what all fits share is made once for each device
    with Copies() as copies:
        step(moved)
    assert copies.found == []


def test_what_is_shared_stays_shared_and_the_problem_stays_where_it_is() -> None:
    problem = of_a_task(dip.Deblock)
    other = problem.to(META)
    assert other.finish.__self__ is other.likelihood  # type: ignore[attr-defined]
    assert {one.device.type for one in tensors(problem, set())} == {"cpu"}


class Scaled(NamedTuple):
    """An operator that happens to be a tuple."""

    by: Tensor

    def to(self, device: torch.device) -> Scaled:
        return Scaled(self.by.to(device))

    def __call__(self, x: Tensor) -> Tensor:
        return self.by * x


def test_a_named_tuple_moves_itself_and_stays_what_it_is() -> None:
    y = torch.zeros(1, 8, 8)
    ends = torch.zeros(1), torch.ones(1)
    moved = Problem(y, (1, 8, 8), forward=Scaled(torch.tensor(2.0)), black_and_white=ends).to(META)
    assert isinstance(moved.forward, Scaled)
    assert moved.forward.by.device == META
    assert moved.black_and_white is not None
    assert [end.device for end in moved.black_and_white] == [META, META]
