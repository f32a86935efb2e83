import pytest
import torch

from napari_dip.engine import devices

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("tiles", "vectors", "limit", "precision"),
    [
        (True, True, None, torch.bfloat16),
        (True, False, None, torch.bfloat16),
        (False, True, None, torch.bfloat16),
        (False, False, None, torch.float32),
        (True, True, "AVX2", torch.float32),
        (True, True, "avx512_core_vnni", torch.float32),
        (True, True, "AVX512_CORE_BF16", torch.bfloat16),
        (True, False, "AVX512_CORE_BF16", torch.float32),
        (False, True, "AVX512_CORE_AMX", torch.bfloat16),
        (True, True, "ALL", torch.bfloat16),
    ],
)
def test_activations_are_bfloat16_where_the_processor_multiplies_it_and_may(
    monkeypatch, tiles, vectors, limit, precision
):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors, raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    if limit is None:
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    else:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert devices.precision(CPU) == precision


@pytest.mark.parametrize("folder", ["", "memory"])
def test_files_that_were_read_are_no_memory_that_is_taken(folder, tmp_path, monkeypatch):
    root = tmp_path / folder
    root.mkdir(exist_ok=True)
    names = ("memory.max", "memory.current") if not folder else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, value in zip(names, (2**30, 900 * 2**20), strict=True):
        (root / name).write_text(f"{value}\n")
    (root / "memory.stat").write_text(f"anon 5\ninactive_file {600 * 2**20}\nactive_file 7\n")
    monkeypatch.setattr(devices, "CGROUP", tmp_path)
    assert devices.free_memory(torch.device("cpu")) == (1024 - 900 + 600) * 2**20
    assert devices.memory(torch.device("cpu")) == 2**30
