"""The benchmark runs where there is no GPU, says so, and times nothing whose results are wrong."""

import json
import sys

import numpy as np
import pytest
import torch

from tribid.gpu import bench
from tribid.gpu.markets import DeviceMarkets


@pytest.mark.slow
def test_a_machine_without_a_gpu_gets_small_sizes_and_is_told_so(tmp_path, monkeypatch, capsys):
    file = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["bench", "--json", str(file), "--device", "cpu"])
    bench.main()
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert "no CUDA: small sizes" in figures["device"] and "bare" not in figures
    assert {row["engine"] for row in figures["markets"]} == {"eager"}
    assert all(row["requests_per_s"] > 0 for row in figures["markets"]) and figures["copy_gb_per_s"] > 0
    assert json.loads(capsys.readouterr().out) == figures


def test_wrong_money_is_not_timed(monkeypatch):
    honest = DeviceMarkets.step

    def generous(self, multipliers):
        step = honest(self, multipliers)
        self.state.left_micros[0, 0] += 1
        return step

    monkeypatch.setattr(DeviceMarkets, "step", generous)
    with pytest.raises(AssertionError):
        bench.run(torch.device("cpu"))


def test_a_time_is_the_median_of_its_repetitions_after_warm_ups(monkeypatch):
    ticks = iter(np.cumsum([0.0, 5.0] + [0.0, 1.0] * 4 + [0.0, 2.0] * 3).tolist())
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(ticks))
    calls = []
    # Readings of 5, 1, 1, 1, 1, 2, 2 and 2 seconds, after three unmeasured warm-ups.
    assert bench.seconds(torch.device("cpu"), lambda: calls.append(1), repetitions=8) == 1.5
    assert len(calls) == 8 + 3


def test_a_time_has_seven_repetitions_at_least():
    calls = []
    bench.seconds(torch.device("cpu"), lambda: calls.append(1), repetitions=1)
    assert len(calls) == 7 + 3
