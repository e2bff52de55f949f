from sparring.plots.saving import rendered
from sparring.plots.style import panels


def test_the_same_figure_gives_the_same_bytes_in_each_format():
    contents = []
    for _ in range(2):
        figure, (ax,) = panels()
        ax.plot([0, 1], [1, 0], label="line")
        ax.legend()
        contents.append(rendered(figure))
    assert contents[0] == contents[1]
    assert [*contents[0]] == ["png", "svg"]
    assert contents[0]["svg"].startswith(b"<?xml")
