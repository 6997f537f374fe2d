"""Pictures are whole files, the same in every run; matplotlib is imported for nothing else."""

import subprocess
import sys
from xml.etree import ElementTree

import pytest

from tribid.benchmark.plots import GROWTH, ROOFLINE, growth_plot, write_plots


def test_a_run_gives_both_pictures_and_the_same_ones_again(made_up, tmp_path):
    (tmp_path / "again").mkdir()
    written, again = write_plots(made_up(), tmp_path), write_plots(made_up(), tmp_path / "again")
    assert [path.name for path in written] == [GROWTH, ROOFLINE]
    for one, two in zip(written, again, strict=True):
        assert one.read_bytes() == two.read_bytes()
        texts = " ".join(ElementTree.parse(one).getroot().itertext())
        assert "markets" in texts or "N = 48" in texts


def test_without_figures_there_is_no_picture(made_up, tmp_path):
    run = made_up()
    assert write_plots(run.model_copy(update={"figures": run.figures[:2], "curves": []}), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_the_suffix_says_the_format(made_up, tmp_path, suffix, begins):
    growth_plot(made_up().curves, tmp_path / f"growth{suffix}")
    assert (tmp_path / f"growth{suffix}").read_bytes().startswith(begins)


def test_measuring_and_showing_import_no_matplotlib_and_no_torch():
    code = (
        "import sys, tribid.benchmark.suite, tribid.benchmark.report; print({'matplotlib', 'torch'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
