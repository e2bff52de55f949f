"""Frames that are wrong: all are counted, and with `skip_bad` they are left out and listed."""

import csv

import pytest
from ase.build import molecule

from sparring.config import difference, load
from sparring.inputs.reading import read_file
from sparring.systems.own.comparison import read_structures_of

FRAME = """2
Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy={energy} pbc="F F F"
Cu 0 0 0 0 0 0
Ag {x} 0 0 0 0 0
"""
GOOD = FRAME.format(energy=-1.0, x=2.5)
WRONG = {
    "energy": (FRAME.format(energy="nan", x=2.5), "REF_energy must be one finite number"),
    "place": (FRAME.format(energy=-1.0, x=0.0), "are in one place"),
    "word": (FRAME.format(energy=-1.0, x="2,5"), "pos of atom 1 is no number: '2,5'"),
    "too few rows": (GOOD.replace("2\n", "3\n", 1), "3 atoms announced, 2 rows found: line .* is '2', the number of"),
    "too many rows": (GOOD + "Au 9 9 9 0 0 0\n", None),
    "no count": (GOOD.replace("2\n", "two\n", 1), "must hold the number of atoms of the next frame, got 'two'"),
}


def numbered_frames(*texts):
    """Frames whose energies are their numbers."""
    return "".join(text.replace("REF_energy=-1.0", f"REF_energy=-{index}.0") for index, text in enumerate(texts))


@pytest.mark.parametrize("what", [name for name, (_, message) in WRONG.items() if message])
def test_a_wrong_frame_is_left_out_and_all_others_are_read(tmp_path, what):
    text, message = WRONG[what]
    file = tmp_path / "set.xyz"
    file.write_text(numbered_frames(GOOD, text, GOOD, GOOD))
    with pytest.raises(
        ValueError, match=rf"frame 1 .*{message}.*; 1 of 4 frames is wrong \(frame 1\): correct them, .*`--skip-bad`"
    ):
        read_file(file)
    reading = read_file(file, skip_bad=True)
    assert [atoms.info["REF_energy"] for atoms in reading.structures] == [0.0, -2.0, -3.0]
    assert reading.frames == (0, 2, 3)
    (skipped,) = reading.skipped
    assert (skipped.file, skipped.frame) == (str(file), 1)
    assert skipped.reason.startswith(f"{file}, frame 1 (counting from 0): ")


def test_rows_that_no_frame_announces_are_one_wrong_frame(tmp_path):
    (tmp_path / "set.xyz").write_text(numbered_frames(GOOD, WRONG["too many rows"][0], GOOD))
    reading = read_file(tmp_path / "set.xyz", skip_bad=True)
    assert [atoms.info["REF_energy"] for atoms in reading.structures] == [0.0, -1.0, -2.0]
    assert [one.frame for one in reading.skipped] == [2]
    assert "count the rows of the frame before it" in reading.skipped[0].reason


def test_all_wrong_frames_are_counted_and_a_file_of_wrong_frames_is_refused(tmp_path):
    file = tmp_path / "set.xyz"
    file.write_text(GOOD + WRONG["energy"][0] * 12)
    with pytest.raises(ValueError, match=r"frame 1 .*; 12 of 13 frames are wrong \(frames 1, 2, .*, 8 and 4 more\)"):
        read_file(file)
    file.write_text(WRONG["energy"][0] * 3)
    for skip_bad in (False, True):
        with pytest.raises(ValueError, match=r"frame 0 .*; all 3 frames of set\.xyz are wrong"):
            read_file(file, skip_bad=skip_bad)


@pytest.fixture
def with_wrong_frames(molecules_file, tmp_path):
    """The configuration of the molecules, whose file has a wrong frame before the others and one behind."""
    config = molecules_file()
    file = tmp_path / "molecules.xyz"
    file.write_text(WRONG["place"][0] + file.read_text() + WRONG["energy"][0])
    return config


def test_a_run_reads_its_file_without_wrong_frames_and_keeps_their_numbers(with_wrong_frames):
    with pytest.raises(ValueError, match="frames are wrong"):
        read_structures_of(load(with_wrong_frames).system)
    config = load(with_wrong_frames, overrides={"system.skip_bad": True})
    structures = read_structures_of(config.system)
    assert [atoms.info["frame"] for atoms in structures] == list(range(1, len(structures) + 1))
    assert difference(config, load(with_wrong_frames)) == []
    skipped = config.system.build().skipped()
    assert [one.frame for one in skipped] == [0, len(structures) + 1]


def test_a_frame_key_of_a_file_is_not_taken_for_the_number_of_a_frame(molecules_file, tmp_path):
    config = molecules_file()
    file = tmp_path / "molecules.xyz"
    file.write_text(file.read_text().replace("Properties=", "frame=abc Properties="))
    assert not any("frame" in atoms.info for atoms in read_structures_of(load(config).system))


def test_a_run_lists_the_frames_that_it_leaves_out(with_wrong_frames, tmp_path, sparring, monkeypatch):
    def stop(planned, cache):
        planned.start()
        raise ValueError("the structures are read")

    monkeypatch.setattr("sparring.commands.running.loop.run", stop)
    answer = sparring("run", with_wrong_frames, "--folder", tmp_path / "run")
    assert answer.exit_code == 2
    assert "2 of 14 frames are wrong (frames 0, 13)" in " ".join(answer.err.split())
    begun = sparring("run", with_wrong_frames, "--folder", tmp_path / "run", "--skip-bad")
    assert "the structures are read" in begun.err
    rows = list(csv.DictReader((tmp_path / "run" / "skipped.csv").read_text().splitlines()))
    assert [row["frame"] for row in rows] == ["0", "13"]
    assert "are in one place" in rows[0]["reason"]


def test_verbs_list_the_frames_that_they_leave_out_beside_their_output(tmp_path, capsys):
    from sparring.cli.files import geometries, labelled

    file = tmp_path / "set.xyz"
    file.write_text(GOOD + WRONG["place"][0] + GOOD)
    with pytest.raises(ValueError, match="1 of 3 frames is wrong"):
        geometries(file, beside=tmp_path / "out.xyz")
    assert len(geometries(file, skip_bad=True, beside=tmp_path / "out.xyz")) == 2
    assert (tmp_path / "out.xyz.skipped.csv").read_text().startswith("file,frame,reason\n")
    assert f"left out: 1 frames of {file}, listed in {tmp_path / 'out.xyz.skipped.csv'}" in capsys.readouterr().err
    assert len(labelled(file, skip_bad=True, beside=tmp_path / "committee")) == 2
    assert (tmp_path / "committee" / "skipped.csv").exists()


def test_verbs_stop_for_labels_that_contradict_each_other(tmp_path, rattled):
    from ase.calculators.emt import EMT

    from sparring.cli.files import labelled
    from sparring.inputs.extxyz import write_structures

    frames = rattled(molecule("NH3"), 12, stdev=0.05)
    for atoms in frames:
        atoms.calc = EMT()
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = float(atoms.get_potential_energy()), -atoms.get_forces()
        atoms.calc = None
    write_structures(tmp_path / "set.xyz", frames)
    with pytest.raises(ValueError, match=r"forces point uphill .*gradients.*\n.*give `--no-check-labels`"):
        labelled(tmp_path / "set.xyz", check_labels=True)
    assert len(labelled(tmp_path / "set.xyz")) == 12
