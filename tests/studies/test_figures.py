"""Figures of studies as files: one file each, small, and the same bytes for the same figure."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image


@pytest.fixture
def save_figure():
    from studies.common.figures import save_figure

    return save_figure


def lines(n_points):
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot(np.random.default_rng(0).uniform(size=n_points), ".", color="#d55e00")
    return figure


def test_a_small_line_plot_is_an_svg_and_a_large_one_a_png(save_figure, tmp_path):
    assert save_figure(lines(10), tmp_path / "plot").name == "plot.svg"
    assert save_figure(lines(5000), tmp_path / "plot").name == "plot.png"
    assert [file.name for file in tmp_path.iterdir()] == ["plot.png"]


def test_a_map_is_a_png_of_few_colours_that_keeps_its_colours(save_figure, tmp_path):
    file = save_figure(lines(10), tmp_path / "map", is_map=True)
    picture = Image.open(file)
    assert picture.mode == "P"
    assert picture.size == (480, 360)  # 4 × 3 inches at 120 dpi
    colours = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    orange = np.array([0xD5, 0x5E, 0x00])
    assert np.abs(colours - orange).max(1).min() < 8


def test_the_same_figure_gives_the_same_bytes(save_figure, tmp_path):
    files = [save_figure(lines(n_points), tmp_path / f"{name}") for name in "ab" for n_points in (10,)]
    assert files[0].read_bytes() == files[1].read_bytes()
