from sparring.plots.saving import save_figure
from sparring.plots.style import panels


def test_a_figure_is_two_files_and_the_same_figure_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        figure, (ax,) = panels()
        ax.plot([0, 1], [1, 0], label="line")
        ax.legend()
        files = save_figure(figure, tmp_path / name)
        assert files == (tmp_path / f"{name}.png", tmp_path / f"{name}.svg")
    for ending in ("png", "svg"):
        one, other = (tmp_path / f"{name}.{ending}" for name in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()
    assert (tmp_path / "one.svg").read_text().startswith("<?xml")
