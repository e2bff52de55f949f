"""The page as a reader has it: in a browser, without a network."""

import re

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from sparring.inputs.extxyz import write_structures
from sparring.reporting import page as pages
from sparring.reporting.explore import explorer
from sparring.reporting.reading import read_run
from sparring.validation.diversity.compute import Diversity, gather
from sparring.validation.records import write_record

N_STRUCTURES = 40 + 2 * 19  # what the made-up run started with, and labelled


@pytest.fixture
def bare_report(monkeypatch):
    """Writes a page without figures, which take much longer than all the rest."""

    def write_page(folder):
        monkeypatch.setattr(pages, "_sheets", lambda run: ())
        return pages.report(folder)

    return write_page


@pytest.fixture
def explored(browser, bare_report, made_up_run):
    """The explorer of a made-up run on ammonia, open in a wide window."""
    folder = made_up_run()
    browser.open(bare_report(folder))
    scroll_to(browser, "map")
    return browser


def scroll_to(browser, part):
    browser.run(f"document.querySelector('[data-part={part}]').scrollIntoView({{block: 'center'}})")


def title(browser):
    return browser.run("document.querySelector('[data-part=title]').textContent")


def facts(browser):
    return dict(
        browser.run(
            "[...document.querySelectorAll('#explorer dt')].map(dt => [dt.textContent, dt.nextSibling.textContent])"
        )
    )


def atoms(browser):
    """Where the atoms of the molecule are drawn."""
    return browser.run(
        "[...document.querySelectorAll('[data-part=molecule] .atom')]"
        ".map(atom => [+atom.getAttribute('cx'), +atom.getAttribute('cy')]).sort()"
    )


def n_marks(browser):
    return browser.run("document.querySelectorAll('[data-part=map] .marks path').length")


def mark(browser, number):
    """The middle of a structure's mark, in pixels of the window."""
    return browser.run(
        f"(() => {{ const box = document.querySelector('.marks [data-row=\"{number}\"]').getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )


def middle_of(browser, part):
    return browser.run(
        f"(() => {{ const box = document.querySelector('[data-part={part}]').getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )


def lonely(browser):
    """The number of the mark that is farthest from all others, so that nothing else can be hit."""
    places = np.array([mark(browser, number) for number in range(N_STRUCTURES)])
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + 1e6 * np.eye(len(places))
    return int(apart.min(axis=1).argmax())


def choose(browser, part, value):
    browser.run(
        f"(() => {{ const box = document.querySelector('[data-part={part}]'); box.value = '{value}';"
        "box.dispatchEvent(new Event('change')); })()"
    )


def test_the_whole_page_loads_without_a_complaint_and_asks_for_nothing_else(browser, finished_run):
    written = pages.report(finished_run)
    browser.open(written)
    assert browser.complaints == []
    asked = [address for address in browser.requests if not address.startswith("data:")]
    assert asked == [written.resolve().as_uri()]
    assert n_marks(browser) == N_STRUCTURES
    drawn = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
    assert browser.run(drawn)
    assert browser.run("document.images.length") == 10


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(browser, finished_run, width):
    written = finished_run / "report.html"
    browser.open(written if written.exists() else pages.report(finished_run), width=width, touch=width < 400)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_the_structure_of_lowest_energy_is_shown_first(explored):
    assert facts(explored)["energy above lowest"] == "0 kcal/mol"
    assert len(atoms(explored)) == 4


def test_a_click_selects_a_point_and_shows_its_geometry_its_energy_and_where_it_came_from(explored, tmp_path):
    before = atoms(explored)
    number = lonely(explored)
    explored.click(*mark(explored, number))
    assert title(explored).startswith(f"Structure {number}: ")
    assert len(atoms(explored)) == 4
    assert atoms(explored) != before

    frames = [*read(tmp_path / "run/generation-01/dataset.extxyz", ":")]
    frames += [atoms for place in "12" for atoms in read(tmp_path / f"run/generation-0{place}/labelled.extxyz", ":")]
    energies = np.array([one.info["REF_energy"] for one in frames])
    above = (energies[number] - energies.min()) * 23.0605
    shown = facts(explored)
    assert float(shown["energy above lowest"].removesuffix(" kcal/mol")) == pytest.approx(above, rel=1e-3)
    own = read(tmp_path / "run" / shown["file"], shown["frame, from 0"])
    assert np.array_equal(own.positions, frames[number].positions)


def test_pointing_shows_a_structure_and_leaving_brings_the_selected_one_back(explored):
    first = title(explored)
    number = lonely(explored)
    explored.mouse("mouseMoved", *mark(explored, number))
    assert title(explored).startswith(f"Structure {number}: ")
    explored.mouse("mouseMoved", 5, 5)
    assert title(explored) == first


def test_arrow_keys_go_from_point_to_point(explored):
    explored.run("document.querySelector('[data-part=map]').focus()")
    x = []
    for _ in range(5):
        explored.press("ArrowRight")
        number = int(re.match(r"Structure (\d+)", title(explored))[1])
        x.append(mark(explored, number)[0])
    assert x == sorted(x)
    assert len(set(x)) == 5


def test_buttons_go_through_all_structures_in_their_order(explored):
    number = int(re.match(r"Structure (\d+)", title(explored))[1])
    explored.run("document.querySelector('[data-part=after]').click()")
    assert title(explored).startswith(f"Structure {(number + 1) % N_STRUCTURES}: ")
    explored.run("document.querySelector('[data-part=before]').click()")
    assert title(explored).startswith(f"Structure {number}: ")


def test_the_mouse_turns_the_molecule_and_a_button_turns_it_back(explored):
    scroll_to(explored, "molecule")
    before = atoms(explored)
    explored.drag(*middle_of(explored, "molecule"), 80, 30)
    assert atoms(explored) != before
    explored.run("document.querySelector('[data-part=again]').click()")
    assert atoms(explored) == before


def test_keys_turn_the_molecule(explored):
    before = atoms(explored)
    explored.run("document.querySelector('[data-part=molecule]').focus()")
    explored.press("ArrowLeft")
    assert atoms(explored) != before


def test_on_a_phone_a_tap_selects_and_a_finger_turns_the_molecule(browser, bare_report, made_up_run):
    browser.open(bare_report(made_up_run()), width=390, height=840, touch=True)
    scroll_to(browser, "map")
    number = lonely(browser)
    browser.touch(mark(browser, number))
    assert title(browser).startswith(f"Structure {number}: ")
    scroll_to(browser, "molecule")
    before, (x, y) = atoms(browser), middle_of(browser, "molecule")
    browser.touch((x, y), (x + 40, y), (x + 80, y))
    assert atoms(browser) != before
    assert browser.complaints == []


def test_axes_can_be_chosen_and_what_has_no_value_there_is_counted(explored):
    choose(explored, "y", "sigma_before")
    assert n_marks(explored) == 2 * 19
    assert "40 of 78 have no such value" in explored.run("document.querySelector('[data-part=missing]').textContent")
    choose(explored, "y", "energy")
    assert n_marks(explored) == N_STRUCTURES


@pytest.mark.parametrize(("by", "n_colours"), [("generation", 3), ("source", 2), ("energy", 60)])
def test_colours_tell_generations_or_sources_or_any_quantity(explored, by, n_colours):
    choose(explored, "colour", by)
    found = explored.run("new Set([...document.querySelectorAll('.marks path')].map(p => p.getAttribute('fill'))).size")
    assert found >= n_colours if by == "energy" else found == n_colours


def test_groups_can_be_taken_off_the_map(explored):
    explored.run("document.querySelector('[data-part=legend] button').click()")
    assert n_marks(explored) == 2 * 19
    explored.run("document.querySelector('[data-part=legend] button').click()")
    assert n_marks(explored) == N_STRUCTURES
    for place in range(3):
        explored.run(f"document.querySelectorAll('[data-part=legend] button')[{place}].click()")
    assert n_marks(explored) == 0
    assert explored.complaints == []


def test_a_well_shows_coordinates_and_no_molecule(browser, bare_report, made_up_run):
    browser.open(bare_report(made_up_run(system="double_well_2d", formulas=("X",))))
    assert browser.complaints == []
    assert n_marks(browser) == N_STRUCTURES
    place = browser.run("document.querySelector('[data-part=place]').textContent")
    assert re.fullmatch(r"x = −?[\d.]+ Å\ny = −?[\d.]+ Å", place)
    assert browser.run("getComputedStyle(document.querySelector('[data-part=molecule]')).display") == "none"


def test_atoms_can_be_coloured_by_their_uncertainty_and_by_the_error_of_their_force(browser, bare_report, made_up_run):
    folder = made_up_run()
    path = folder / "generation-03" / "predictions.extxyz"
    frames = read(path, ":")
    for place, one in enumerate(frames):
        one.arrays["atom_uncertainty"] = np.array([0.1, 0.4, 0.2, 0.0]) * (1 + place)
    write(path, frames, format="extxyz")
    browser.open(bare_report(folder))
    fills = "[...document.querySelectorAll('[data-part=molecule] .atom')].map(atom => atom.getAttribute('fill'))"
    titles = "[...document.querySelectorAll('[data-part=molecule] .atom title')].map(one => one.textContent)"
    named = "[...document.querySelectorAll('[data-part=molecule] .atom-name')].map(one => one.textContent)"
    scale = "document.querySelector('[data-part=atom-scale]').textContent"
    assert set(browser.run(fills)) == {"url(#ball-H)", "url(#ball-N)"}
    assert browser.run(named) == []
    number = int(re.match(r"Structure (\d+)", title(browser))[1])
    symbols = frames[number].get_chemical_symbols()
    most = f"{symbols[1]}1"
    choose(browser, "atoms", "sigma_now")
    assert len(set(browser.run(fills))) == 4
    largest = 0.4 * (1 + number)
    assert browser.run(named) == [most]
    assert browser.run(scale) == f"0{largest:g} eV/Å ({most})"
    (shown,) = (text for text in browser.run(titles) if text.startswith(f"{most}\n"))
    assert f"{most}\nuncertainty of committee 3: {largest:g} eV/Å\nforce error of committee 3: " in shown
    assert facts(browser)["most uncertain atom, committee 3"] == f"{most}, {largest:g} eV/Å"
    choose(browser, "atoms", "error_now")
    difference = frames[number].arrays["committee_forces"] - frames[number].arrays["REF_forces"]
    worst = int((difference**2).sum(1).argmax())
    assert browser.run(named) == [f"{symbols[worst]}{worst}"]
    choose(browser, "atoms", "error_before")
    assert browser.run(scale) == "force error before labelling: not known for this structure"
    assert set(browser.run(fills)) == {"url(#ball-H)", "url(#ball-N)"}
    assert browser.complaints == []


def test_a_parent_is_one_click_away(browser, bare_report, made_up_run):
    folder = made_up_run()
    path = folder / "generation-02" / "labelled.extxyz"
    frames = read(path, ":")
    frames[0].info["parent"] = 7
    write(path, frames, format="extxyz")
    browser.open(bare_report(folder))
    scroll_to(browser, "map")
    browser.run("document.querySelector('[data-part=before]').click()")
    while not title(browser).startswith("Structure 59:"):
        browser.run("document.querySelector('[data-part=after]').click()")
    assert facts(browser)["seed"] == "structure 7"
    browser.run("document.querySelector('#explorer dd button').click()")
    assert title(browser).startswith("Structure 7:")


def test_a_crystal_is_drawn_in_its_cell(browser, bare_report, made_up_run):
    folder = made_up_run(n_generations=1)
    for name in ("dataset", "predictions"):
        path = folder / "generation-01" / f"{name}.extxyz"
        frames = read(path, ":")
        for one in frames:
            one.cell, one.pbc = [4.0, 4.0, 4.0], True
        write(path, frames, format="extxyz")
    browser.open(bare_report(folder))
    assert browser.complaints == []
    assert browser.run("document.querySelectorAll('[data-part=molecule] .cell').length") == 12


def test_names_that_look_like_html_stay_names(browser, bare_report, made_up_run):
    folder = made_up_run()
    path = folder / "generation-02" / "labelled.extxyz"
    evil = "</script><script>document.title='taken'</script>"
    frames = read(path, ":")
    for one in frames:
        one.info["source"] = evil
    write(path, frames, format="extxyz")
    browser.open(bare_report(folder))
    assert browser.complaints == []
    assert browser.run("document.title") == "run · sparring"
    assert evil in browser.run("document.querySelector('[data-part=legend]').textContent")


def test_a_map_of_likeness_is_what_the_explorer_begins_with(browser, bare_report, made_up_run):
    folder = made_up_run()
    frames = gather([folder])
    generator = np.random.default_rng(0)
    n = len(frames)
    (folder / "validation").mkdir()
    write_structures(folder / "validation" / "diversity.extxyz", frames)
    likeness = Diversity(
        map=generator.normal(size=(n, 2)),
        energy=generator.uniform(size=n),
        rmsd=generator.uniform(size=n),
        novelty=generator.uniform(size=n),
        spacing=np.ones(n),
        source=tuple("attack" for _ in frames),
        generation=np.array([one.info["generation"] for one in frames]),
        runs=tuple(("run",) for _ in frames),
        n_neighbors=15,
        seed=0,
    )
    write_record(folder / "validation" / "diversity.json", likeness)
    browser.open(bare_report(folder))
    assert browser.complaints == []
    assert browser.run("document.querySelector('[data-part=x]').value") == "umap1"
    assert n_marks(browser) == N_STRUCTURES
    assert "RMSD to the ground state" in facts(browser)
    places = np.array([mark(browser, number) for number in range(10)])
    scale = np.linalg.norm(places[1:] - places[0], axis=1) / np.linalg.norm(
        likeness.map[1:10] - likeness.map[0], axis=1
    )
    assert np.allclose(scale, scale[0], rtol=0.02)  # both axes have one scale, as in the paper's Fig. 3a


def test_thousands_of_atoms_are_drawn_in_a_moment(browser, bare_report, made_up_run, monkeypatch):
    """As many as a page may carry: 1,000 structures of 40 atoms."""
    folder = made_up_run(n_generations=1)
    generator = np.random.default_rng(0)
    frames = []
    for number in range(1000):
        one = Atoms("C40", positions=generator.normal(scale=3.0, size=(40, 3)))
        one.info |= {"REF_energy": float(number), "source": "file", "generation": 1, "parent": -1}
        one.arrays["REF_forces"] = np.zeros((40, 3))
        frames.append(one)
    for path in (folder / "generation-01").iterdir():
        path.unlink()
    write_structures(folder / "generation-01" / "dataset.extxyz", frames)
    assert len(explorer(read_run(folder))["structures"]) == 1000
    written = bare_report(folder)
    assert written.stat().st_size < 3e6
    browser.open(written)
    assert browser.complaints == []
    assert n_marks(browser) == 1000
    milliseconds = browser.run(
        "(() => { const start = performance.now(); for (let i = 0; i < 10; i++) "
        "document.querySelector('[data-part=after]').click(); return (performance.now() - start) / 10; })()"
    )
    assert milliseconds < 500
