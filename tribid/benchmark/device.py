"""The GPU engine's figures, where there is a GPU: ``tribid.gpu.bench`` in a process of its own."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from tribid.benchmark import fresh
from tribid.benchmark.figure import Figure, plain

NO_GPU = "no GPU was there (torch sees no CUDA device), so its figures are left out"


def measured_device(quick: bool) -> dict[str, Any] | None:
    """The figures of ``tribid.gpu.bench`` in this process; None without torch or a CUDA device."""
    if find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    from tribid.gpu.bench import run

    return run(torch.device("cuda"), quick=quick)


def device_figures(*, quick: bool, repetitions: int) -> Iterator[Figure]:
    """``gpu_*``; nothing without a GPU. Each is already a median (CUDA events), so only that is known here."""
    found = fresh.call(measured_device, quick)
    if found is not None:
        yield from figures_of(found)


def figures_of(found: dict[str, Any]) -> Iterator[Figure]:
    """What ``tribid.gpu.bench`` found, as figures; the device's name stands in the notes."""
    more: dict[str, Any] = {"group": "gpu", "clock": "device", "note": f"{found['device']}, torch {found['torch']}"}
    yield plain("gpu_copy", "GPU copies", "GB/s", [found["copy_gb_per_s"]], better="higher", **more)
    if "bare" in found:
        best = max(found["bare"]["impressions_per_s_by_markets"].values())
        yield plain(
            "gpu_bare_48", "GPU, bare auction, 48 candidates", "impressions/s", [best], better="higher", **more
        )  # fmt: skip
        yield plain(
            "gpu_bare_48_share", "  of the GPU's copy bandwidth", "x",
            [found["bare"]["best_share_of_copy_bandwidth"]], better="higher", **more,
        )  # fmt: skip
    for row in found["markets"]:
        yield plain(
            f"gpu_{row['scenario']}_{row['engine']}_{row['markets']}",
            f"GPU, {row['markets']:,} markets of {row['scenario'].replace('_', ' ')} ({row['engine']})",
            "impressions/s", [row["requests_per_s"]], better="higher", **more,
        )  # fmt: skip
