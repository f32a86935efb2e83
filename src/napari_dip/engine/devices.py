"""Where a fit runs: the devices there are, the precision that pays on each, and the limits of this process."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

ARENAS, MAPPED, MAPPED_FROM, TRIMMED = -8, -4, -3, -1
"""glibc's numbers of M_ARENA_MAX, M_MMAP_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD."""

KEEPING = {ARENAS: 1, MAPPED: 0, TRIMMED: 2**31 - 1}
GIVING_BACK = {ARENAS: 0, MAPPED: 65536, TRIMMED: 64 << 20}
SPARING = {MAPPED: 65536, MAPPED_FROM: 1 << 20, TRIMMED: 1 << 20}
AS_BEFORE = {MAPPED: 65536, MAPPED_FROM: 32 << 20, TRIMMED: 64 << 20}  # where glibc itself comes to in a long run
CGROUP = Path("/sys/fs/cgroup")
BEHIND = 10  # of 19: how far a fit steps back behind the window
BFLOAT16_VECTORS = ("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX10_1_512")  # oneDNN's names
PYTORCH_WHEELS = "https://download.pytorch.org/whl/cu128"


def available() -> tuple[str, ...]:
    """Return the devices that this PyTorch can use, the fastest first: of "cuda", "mps" and "cpu"."""
    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return tuple(name for name, is_usable in usable.items() if is_usable)


def choose(name: str = "auto") -> torch.device:
    """Return the device of that name; "auto" is CUDA, then MPS, then the CPU.

    Raises
    ------
    ValueError
        When the device is not there.
    """
    if name == "auto":
        return torch.device(available()[0])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"There is no device {name!r}; here are: auto, {', '.join(available())}") from error
    if device.type not in available():
        raise ValueError(f"The device {name!r} is not available; here are: auto, {', '.join(available())}")
    return device


def precision(device: torch.device) -> torch.dtype:
    """Return the type of activations that pays on a device: bfloat16 where the hardware multiplies it.

    Weights, statistics, losses and outputs are float32 everywhere. A property of the machine, never a timing:
    the same machine always computes the same bits.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float32
    return torch.bfloat16 if device.type == "cpu" and _multiplies_bfloat16() else torch.float32


def closed_form(device: torch.device) -> torch.device:
    """Return where linear systems in float64 are solved for a fit on this device: MPS has neither."""
    return torch.device("cpu") if device.type == "mps" else device


def _multiplies_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16, and oneDNN may use that: ONEDNN_MAX_CPU_ISA can forbid it."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "DEFAULT")).upper()
    tiles = torch.cpu._is_amx_tile_supported()
    vectors = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()  # PyTorch 2.6
    if limit in ("DEFAULT", "ALL"):
        return bool(tiles or vectors)
    return bool(("AMX" in limit and tiles) or (limit.startswith(BFLOAT16_VECTORS) and vectors))


def give_way() -> None:
    """Let other threads go first from now on, where threads have priorities of their own: on Linux; never the main one.

    Threads that this one starts do the same, so that a window stays responsive beside a fit on all cores, and the fit
    has as many threads as anywhere: their number decides the bits.
    """
    if sys.platform == "linux" and threading.current_thread() is not threading.main_thread():
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEHIND)


def abreast(device: torch.device, fits: int) -> int:
    """Return how many of some fits are made at a time: on the CPU one for each thread, else one after another."""
    return min(fits, torch.get_num_threads()) if device.type == "cpu" else 1


def cores() -> int:
    """Return how many processor cores this process may use: the affinity mask, then the cgroup's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return max(1, min(allowed, round(int(quota) / int(period))))
    return allowed


def memory(device: torch.device) -> int | None:
    """Return how many bytes of memory a fit on this device may use; None where it cannot be told."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    limits = [_physical_memory()]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            limits.append(int((CGROUP / name).read_text()))
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def free_memory(device: torch.device) -> int | None:
    """Return how many bytes of memory this process may take in addition; None where it cannot be told."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    free = [_available_memory()]
    for folder, limit, used in (
        (CGROUP, "memory.max", "memory.current"),
        (CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):
            taken = int((folder / used).read_text()) - _cached(folder)
            free.append(int((folder / limit).read_text()) - taken)
    known = [one for one in free if one is not None]
    return max(0, min(known)) if known else None


def _cached(folder: Path) -> int:
    """Return how many bytes of a control group's memory are files that were read: these are given back when asked."""
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "inactive_file":
                return int(value)
    return 0


def _available_memory() -> int | None:
    """Return what the system could give without swapping; where it does not say, half of what the machine has."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    physical = _physical_memory()
    return None if physical is None else physical // 2


@contextmanager
def capped(device: torch.device, most: int | None) -> Iterator[None]:
    """Keep this process from taking so many bytes more of a GPU than it has while the block runs; None: than are free.

    Some drivers spill to main memory without a word, and a fit becomes a hundred times slower.
    """
    if device.type != "cuda":
        yield
        return
    free, total = torch.cuda.mem_get_info(device)
    wanted = torch.cuda.memory_reserved(device) + (free if most is None else most)
    torch.cuda.set_per_process_memory_fraction(min(1.0, wanted / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def release(device: torch.device) -> None:
    """Give back what a fit that failed still holds."""
    gc.collect()
    trim()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def trim() -> None:
    """Give main memory that is not used any more back to the system, where the C library keeps it: glibc's does."""
    if (glibc := _glibc()) is not None:
        glibc.malloc_trim(0)


@contextmanager
def memory_kept(device: torch.device) -> Iterator[None]:
    """Let what one step of a fit gives back be there for the next one while the block runs: of main memory, by glibc.

    By itself it returns each block of more than 32 MiB to the system at once and asks for it again, which clears every
    page of it: at 2048 x 2048 px most of a step's time went there. Afterwards what was kept is given back, and large
    blocks are returned at once again.

    In a process's main thread alone: any other has a store of its own, in which glibc keeps no such blocks, and the
    process of a window is not ours to tune.
    """
    if not keeps(device):
        yield
        return
    glibc = _glibc()
    for name, value in KEEPING.items():
        glibc.mallopt(name, value)
    try:
        yield
    finally:
        for name, value in GIVING_BACK.items():
            glibc.mallopt(name, value)
        glibc.malloc_trim(0)


@contextmanager
def memory_spared(device: torch.device) -> Iterator[None]:
    """Return every block of 1 MiB and more to the system at once while the block runs: of main memory, by glibc.

    Between blocks of many sizes that are kept there are gaps: a fit in tiles takes half as much memory again with
    them, for a sixth less of time. Where there are tiles it is memory that there is too little of.
    """
    if device.type != "cpu" or (glibc := _glibc()) is None:
        yield
        return
    after = AS_BEFORE | KEEPING if keeps(device) else AS_BEFORE  # told now: another thread may end what this one began
    for name, value in SPARING.items():
        glibc.mallopt(name, value)
    glibc.malloc_trim(0)
    try:
        yield
    finally:
        for name, value in after.items():
            glibc.mallopt(name, value)


def keeps(device: torch.device) -> bool:
    """Return whether `memory_kept` does anything for a fit on a device, in the thread that asks."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and device.type == "cpu" and _glibc() is not None


def _glibc() -> Any:
    """Return the C library where it is glibc; None elsewhere."""
    if sys.platform != "linux":
        return None
    with suppress(OSError):
        library = ctypes.CDLL("libc.so.6")
        return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory did not suffice: not all devices have a class for it."""
    words = str(error)
    return isinstance(error, MemoryError) or "out of memory" in words or "allocate memory" in words


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def peak_memory(device: torch.device) -> int | None:
    """Return the most bytes that this process has used so far: on the GPU, else of main memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def has_nvidia_driver() -> bool:
    """Return whether an NVIDIA driver is installed, whatever this PyTorch can do with it."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def unused_gpu() -> str | None:
    """Return what to do when there is an NVIDIA GPU that this PyTorch cannot use; None when nothing is wrong."""
    if torch.cuda.is_available() or not has_nvidia_driver():
        return None
    reason = (
        "is built without CUDA"
        if torch.version.cuda is None
        else f"needs a driver for CUDA {torch.version.cuda} or newer"
    )
    return (
        f"An NVIDIA driver is installed, but this PyTorch ({torch.__version__}) {reason}, so fits run on the CPU. "
        f"Mend it with: pip install --force-reinstall torch --index-url {PYTORCH_WHEELS}"
    )
