"""Blocks of the page come from the run; the rest of the page stays."""

import json
from pathlib import Path

import pytest

from tribid.benchmark.device import NO_GPU
from tribid.benchmark.page import BLOCKS, DEVICE_FILE, write_page

GPU = {
    "device": "A GPU", "torch": "2.8", "copy_gb_per_s": 2500.0,
    "bare": {"impressions_per_s_by_markets": {"1024": 1e9, "8192": 2e9}, "best_share_of_copy_bandwidth": 0.15},
    "markets": [{"scenario": "feed_without_ocpc", "engine": "triton", "markets": 1024, "requests_per_s": 1e8}],
}  # fmt: skip


def _page(tmp_path: Path) -> Path:
    path = tmp_path / "performance.md"
    blocks = "\n".join(f"before {name}\n<!-- benchmark:{name} -->\nold\n<!-- /benchmark:{name} -->" for name in BLOCKS)
    path.write_text(f"# Speed\n\n{blocks}\nafter\n", encoding="utf-8")
    return path


def test_blocks_are_replaced_and_nothing_else(made_up, tmp_path):
    path = _page(tmp_path)
    write_page(path, made_up())
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Speed\n\nbefore machine\n<!-- benchmark:machine -->\n* command: `tribid benchmark`\n")
    assert text.endswith("<!-- /benchmark:work -->\nafter\n") and "old" not in text
    assert "| bare auction, 48 candidates | 10 M impressions/s | 5 M to 20 M | 0.192 | 10 |" in text
    assert "| 14 x plain numpy | 10 M impressions/s, 10.0 x numpy | **no** |" in text.replace(
        "12 million impressions/s, or", "|"
    )
    # 10 million impressions/s at 192 bytes of 10 GB/s, and at 888 operations of 100 Gop/s.
    assert "| 48 | 192 | 888 | 100.0 ns | 1.9 GB/s, 19% | 8.9 Gop/s, 9% |" in text
    write_page(path, made_up())
    assert path.read_text(encoding="utf-8") == text


def test_a_page_without_a_block_is_left_alone(made_up, tmp_path):
    path = _page(tmp_path)
    text = path.read_text(encoding="utf-8").replace("<!-- /benchmark:work -->", "")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="has no block benchmark:work"):
        write_page(path, made_up())
    assert path.read_text(encoding="utf-8") == text


def test_a_gpu_measured_elsewhere_is_shown_with_its_name(made_up, tmp_path):
    path = _page(tmp_path)
    (tmp_path / DEVICE_FILE).write_text(json.dumps(GPU), encoding="utf-8")
    write_page(path, made_up(notes=[NO_GPU]))
    text = path.read_text(encoding="utf-8")
    assert "| GPU, bare auction, 48 candidates (A GPU, torch 2.8) | 2 G impressions/s |" in text
    assert "| GPU, bare auction, 48 candidates | 1 billion impressions/s | 2 G impressions/s | yes |" in text
    assert NO_GPU not in text


def test_a_gpu_file_without_figures_is_refused(made_up, tmp_path):
    path = _page(tmp_path)
    (tmp_path / DEVICE_FILE).write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="holds no figures"):
        write_page(path, made_up())
    (tmp_path / DEVICE_FILE).write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="holds no figures"):
        write_page(path, made_up())


def test_the_shipped_page_has_every_block(made_up, tmp_path):
    source = Path(__file__).parents[2] / "docs" / "performance.md"
    path = tmp_path / "performance.md"
    path.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    write_page(path, made_up())
    assert "A Processor, 2 cores" in path.read_text(encoding="utf-8")
