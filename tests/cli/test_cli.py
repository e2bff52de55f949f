import os
import re
import subprocess
import sys

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT

from sparring.commands import running
from sparring.committee_files import read_committee
from sparring.config import load
from sparring.inputs.extxyz import read_labelled, read_structures, write_structures
from sparring.labels import LabellingError
from sparring.reporting.answers import answers
from sparring.support.files import write_text

VERBS = ("init", "check", "run", "status", "fit", "attack", "label", "evaluate", "md", "report")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Nothing is written but into a folder of the test; and no figures, except where they are tested."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "report", lambda folder: write_text(folder / "report.html", "a report\n"))


def refused(answer):
    """The one message of a command that was refused."""
    assert answer.exit_code == 2
    assert answer.err.startswith("sparring: ")
    assert "Traceback" not in answer.err
    return answer.err.removeprefix("sparring: ").rstrip("\n")


# --- the verbs ------------------------------------------------------------------------------------------------------


def test_help_knows_all_verbs_and_imports_nothing_heavy():
    program = """
import sys
from sparring import cli
sys.argv = ["sparring", "--help"]
try:
    cli.main()
except SystemExit as end:
    assert not end.code
heavy = {"torch", "ase", "numpy", "scipy", "matplotlib", "pyscf", "rdkit", "pydantic", "yaml"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert all(f"\n  {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, sparring):
    answer = sparring(verb, "--help")
    assert answer.exit_code == 0
    assert f"sparring {verb}" in answer.out


@pytest.mark.parametrize("kind", ["ammonia", "double_well_1d", "double_well_2d", "own"])
def test_init_writes_an_example_once(kind, sparring, tmp_path):
    answer = sparring("init", kind, tmp_path / "new")
    assert answer.exit_code == 0
    written = [line.removeprefix("wrote ") for line in answer.out.split("\n")[:-1]]
    assert load(written[0]).system.kind == kind
    assert "exists already" in refused(sparring("init", kind, tmp_path / "new"))


def test_check_prints_the_whole_configuration_and_what_a_label_costs(sparring, molecules_file, tmp_path):
    answer = sparring("check", molecules_file())
    assert answer.exit_code == 0
    assert "learning_rate: 0.001" in answer.out
    assert "batch_size: 30" in answer.out  # a default
    assert "one label takes" in answer.out
    assert "about 6 labels to begin with, at most 3 more from attacks" in answer.out
    assert sorted(os.listdir(tmp_path)) == ["molecules.xyz", "molecules.yaml"]


def test_run_prints_a_row_for_each_generation_and_where_the_report_is(sparring, well_file, tmp_path):
    answer = sparring("run", well_file())
    assert answer.exit_code == 0
    lines = answer.out.rstrip().split("\n")
    assert lines[0].startswith("energies in eV")
    assert [line.split()[:2] for line in lines[1:]] == [
        ["gen", "data"], ["1", "66"], ["2", "70"], ["3", "74"],
        ["Where", "did"], ["How", "far"], ["Should", "I"],
        ["report:", "runs/well/report.html"],
    ]  # fmt: skip
    assert "generation 2: training done in" in answer.err
    assert (tmp_path / "runs" / "well" / "report.html").exists()


def test_run_again_does_nothing_and_says_so(sparring, well_file):
    config = well_file()
    first = sparring("run", config)
    again = sparring("run", config)
    assert again.exit_code == 0
    assert again.out == first.out
    assert "done in" not in again.err
    assert "generation 3: evaluation done before\nthe run is finished: nothing was left to do\n" in again.err


def test_status_shows_every_generation(sparring, finished_well):
    answer = sparring("status", finished_well)
    assert answer.exit_code == 0
    assert "generation 1: data, fit, evaluate, attack, select, label done" in answer.out
    assert "generation 3: data, fit, evaluate done" in answer.out


def test_status_ends_with_the_answers_of_the_report(sparring, finished_well):
    lines = sparring("status", finished_well).out.rstrip().split("\n")
    assert lines[-3:] == [answer.line() for answer in answers(finished_well)]
    assert lines[-1].startswith("Should I go on? [not known] Error found in generations 1 and 2: ")


def test_status_and_report_of_what_is_no_run_are_refused(sparring, tmp_path):
    assert "is not a run folder" in refused(sparring("status", tmp_path))
    assert str(tmp_path) in refused(sparring("report", tmp_path))


def test_report_writes_the_page_of_a_run(sparring, finished_well, tmp_path):
    folder = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(finished_well), str(folder)], check=True)
    answer = sparring("report", folder)
    assert answer.exit_code == 0
    assert answer.out.strip() == f"report: {folder / 'report.html'}"
    assert (folder / "report.html").stat().st_size > 10_000


def test_fit_evaluate_attack_and_label_are_one_generation_by_hand(sparring, molecules, molecules_file, tmp_path):
    config = molecules_file()
    write_structures(tmp_path / "labelled.xyz", molecules[::2])
    fitted = sparring("fit", "labelled.xyz", "--config", config, "--output", "committee")
    assert fitted.exit_code == 0
    assert "committee of 2: committee\ntrained on H, N, O; charge 0\n" in fitted.out
    assert read_committee(tmp_path / "committee").n_members == 2

    # It tells how to evaluate, and so it works.
    command = fitted.out.rstrip().split("\n")[-1].removeprefix("errors: sparring ").split()
    evaluated = sparring(*command)
    assert evaluated.exit_code == 0
    assert evaluated.out.startswith("6 structures\nenergy MAE")
    assert evaluated.out.endswith("\ncommittee of 2, trained on H, N, O; charge 0\n")

    write_structures(tmp_path / "seeds.xyz", [molecule("N2"), molecule("H2O")])
    reference = tmp_path / "reference.xyz"
    write_structures(reference, read_labelled("labelled.xyz", energy_key="dft_energy", forces_key="dft_forces"))
    attacked = sparring("attack", "committee", "seeds.xyz", "--config", config, "--output", "new/attacked.xyz",
                        "--reference", reference)  # fmt: skip
    assert attacked.exit_code == 0
    assert attacked.out.startswith("2 attacks (2 finished, 0 not finite, 0 overlap)")
    frames = read_structures("new/attacked.xyz")
    assert [frame.info["seed"] for frame in frames] == [0, 1]
    for frame in frames:
        assert np.mean(frame.arrays["atom_uncertainty"] ** 2) == pytest.approx(frame.info["force_variance"], rel=1e-3)

    labelled = sparring("label", "new/attacked.xyz", "--config", config, "--output", "newer/labelled.xyz")
    assert labelled.exit_code == 0
    assert "2 of 2 labelled (2 computed, 0 reused)" in labelled.out
    for frame in read_labelled("newer/labelled.xyz"):
        energy = frame.info["REF_energy"]
        frame.calc = EMT()
        assert energy == pytest.approx(frame.get_potential_energy())
    again = sparring("label", "new/attacked.xyz", "--config", config, "--output", "newer/labelled.xyz")
    assert "2 of 2 labelled (0 computed, 2 reused)" in again.out


def test_no_verb_answers_about_elements_that_the_committee_was_not_trained_on(
    sparring, molecules, molecules_file, with_random_labels, tmp_path
):
    config = molecules_file()
    write_structures("labelled.xyz", molecules[::2])
    assert sparring("fit", "labelled.xyz", "--config", config, "--output", "members").exit_code == 0
    write_structures("methane.xyz", with_random_labels([molecule("CH4")]).to_atoms())
    verbs = (
        ("evaluate", "members", "methane.xyz"),
        ("attack", "members", "methane.xyz", "--config", config, "--output", "attacked.xyz"),
        ("md", "members", "methane.xyz", "--output", "md.xyz", "--temperature", "300 K", "--time", "5 fs"),
        ("validate", "survival", "members", "methane.xyz", "--copies", "1", "--time", "5 fs"),
        ("validate", "errors", "members", "methane.xyz"),
        ("validate", "barrier", "members", "methane.xyz", "methane.xyz"),
    )
    for verb in verbs:
        assert refused(sparring(*verb)).startswith(
            "structure 0 (CH4) has C, on which the committee was not trained: its data have H, N, O; train one on"
        )
    assert not (tmp_path / "attacked.xyz").exists()
    assert not (tmp_path / "md.xyz").exists()


def test_label_says_what_failed_and_keeps_the_rest(sparring, molecules_file, tmp_path):
    write_structures(tmp_path / "in.xyz", [molecule("N2"), molecule("CH3Cl")])
    answer = sparring("label", "in.xyz", "--config", molecules_file(), "--output", "out.xyz")
    assert "1 of 2 labelled" in answer.out
    assert "failed: structure 1 (CH3Cl)" in answer.err
    assert [one.get_chemical_formula() for one in read_labelled("out.xyz")] == ["N2"]


def test_label_assumes_the_charge_of_the_configuration(sparring, molecules_file, tmp_path):
    write_structures(tmp_path / "in.xyz", [molecule("N2")])
    config = molecules_file({"system.charge": 1})
    answer = sparring("label", "in.xyz", "--config", config, "--output", "out.xyz")
    assert "0 of 1 labelled" in answer.out
    assert "charge" in answer.err  # EMT knows none
    assert answer.exit_code == 4, "a script must not go on as if there were labels"


def test_evaluate_with_align_gives_the_same_errors_for_energies_of_another_code(sparring, finished_molecules, tmp_path):
    data = read_labelled(finished_molecules / "generation-02" / "dataset.extxyz")
    zeros = {1: 13.6, 7: 1485.25, 8: 2042.0}
    write_structures(tmp_path / "own.xyz", data)
    for one in data:
        one.info["REF_energy"] += sum(zeros[number] for number in one.numbers)
    write_structures(tmp_path / "other.xyz", data)
    committee = finished_molecules / "generation-02"
    own, other = (sparring("evaluate", committee, name, "--align").out for name in ("own.xyz", "other.xyz"))
    assert own == other
    assert own.startswith(f"{len(data)} structures")
    plain = sparring("evaluate", committee, "other.xyz").out
    assert float(plain.split("\n")[1].split()[2]) > 100


@pytest.fixture
def finished_molecules(molecules_file, tmp_path):
    running.run(molecules_file(), tmp_path / "molecules")
    return tmp_path / "molecules"


# --- bad input: one clear message, exit code 2, and nothing lost ----------------------------------------------------

GOOD = """3
Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=-1.5
O 0 0 0.12 0 0 0.1
H 0 0.76 -0.48 0 0 0
H 0 -0.76 -0.48 0 0 -0.1
"""
BAD_FILES = {
    "missing forces": (GOOD.replace("REF_forces:R:3", "DFT_force:R:3"), "frame 2.*there is no 'REF_forces'"),
    "forces of wrong length": (
        "1\nProperties=species:S:1:pos:R:3:REF_forces:R:2 REF_energy=-1.5\nO 0 0 0.12 0 0\n",
        r"frame 2.*REF_forces must have three numbers for each of 1 atoms, got the shape \(1, 2\)",
    ),
    "an energy that is no number": (GOOD.replace("-1.5", "NaN"), "frame 2.*REF_energy must be one finite number"),
    "infinite coordinates": (GOOD.replace("-0.76", "inf"), "frame 2.*atom 2 is at .*not finite"),
    "an unknown element": (GOOD.replace("O 0", "Oo 0"), "frame 2.*unknown element 'Oo'"),
    "an atomic number of -1": (
        GOOD.replace("species:S:1", "Z:I:1").replace("O 0", "-1 0").replace("H 0", "1 0"),
        "frame 2.*atomic number -1",
    ),
    "an atomic number of 0": (
        GOOD.replace("species:S:1", "Z:I:1").replace("O 0", "0 0").replace("H 0", "1 0"),
        "frame 2.*dummy X",
    ),
    "a file cut off": (GOOD[: GOOD.rindex("H 0")], "frame 2.*cut off here: 3 atoms announced, 2 rows found"),
    "a file cut off in a number": (GOOD[:-9], "frame 2.*cut off in the row of atom 2"),
    "words for a header": (GOOD.replace("3\n", "three\n"), "frame 2.*line 11 must hold the number of atoms"),
}  # fmt: skip


@pytest.fixture
def own_file(tmp_path):
    """Writes a small configuration on a file of waters."""

    def make(last_frame):
        start = "system: {kind: own, file: own.xyz}\nlabels: {labeller: {kind: ase, name: emt}, n_workers: 1}\n"
        rest = "committee: {n_members: 2, potential: {kind: schnet, n_features: 4, n_filters: 4, n_interactions: 1}}\n"
        (tmp_path / "own.yaml").write_text(start + rest + "training: {n_epochs: 1}\ngenerations: 1\n")
        (tmp_path / "own.xyz").write_text(
            GOOD.replace("0 0.76", "0 0.75") + GOOD.replace("0 0.76", "0 0.77") + last_frame
        )
        return tmp_path / "own.yaml"

    return make


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize(("frame", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_structures_are_refused_with_the_frame(verb, frame, message, own_file, sparring, tmp_path):
    config = own_file(frame)
    refusal = refused(sparring(verb, config))
    assert re.search(rf"own\.xyz, {message}", refusal)
    # Once the file is mended the same command works.
    own_file(GOOD)
    assert sparring(verb, config).exit_code == 0


@pytest.mark.parametrize("bad", sorted(BAD_FILES.keys() - {"an atomic number of 0"}))  # which is the X of a well
def test_bad_structures_are_refused_by_evaluate_too(bad, own_file, sparring, finished_well):
    frame, message = BAD_FILES[bad]
    own_file(frame)
    assert re.search(message, refused(sparring("evaluate", finished_well / "generation-03", "own.xyz")))


def test_an_empty_file_is_refused(own_file, sparring, tmp_path):
    config = own_file(GOOD)
    (tmp_path / "own.xyz").write_text("")
    assert "own.xyz: the file has no structures" in refused(sparring("check", config))
    assert "own.xyz: the file has no structures" in refused(sparring("run", config))


def test_a_file_that_is_not_there_is_refused(own_file, sparring, tmp_path):
    config = own_file(GOOD)
    (tmp_path / "own.xyz").unlink()
    assert "own.xyz" in refused(sparring("check", config))


def test_a_data_set_of_one_point_is_refused(own_file, sparring, tmp_path):
    config = own_file(GOOD)
    (tmp_path / "own.xyz").write_text(GOOD)
    assert "a data set of 1 cannot be divided" in refused(sparring("run", config))
    assert "a data set of 1 cannot be divided" in refused(
        sparring("fit", "own.xyz", "--config", config, "--output", "committee")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("system: {kind: double_well_1d}\ntraning: {}\n", "bad.yaml:2: traning: unknown key; did you mean training?"),
        ("system: {kind: ammonia}\nattack: {objective: {kT: 20 kcal/mole}}\n", "did you mean"),
        ("system: {kind: ammonia}\nattack: {objective: {kT: 20 fs}}\n", "fs"),
        ("system: {kind: ammonia}\nlabels: {labeller: {kind: pyscf, method: BP87-D3BJ/def2-SVP}}\n", "unknown"),
        ("system: {kind: ammonia}\nlabels: {labeller: {kind: pyscf, method: BP86-D3BJ/def2-SWP}}\n", "unknown basis"),
        ("system: {kind: ammonia}\nlabels: {labeller: {kind: ase, name: tblight}}\n", "tblite"),
        ("system: {kind: double_well_3d}\n", "did you mean double_well"),
        ("system: {kind: own}\n", "file"),
        ("", "the file is empty"),
    ],
)
def test_a_bad_configuration_is_refused_and_the_run_of_before_still_works(text, message, sparring, well_file, tmp_path):
    good = well_file({"generations": 1})
    assert sparring("run", good, "--folder", "run").exit_code == 0
    (tmp_path / "bad.yaml").write_text(text)
    for verb in (["check", "bad.yaml"], ["run", "bad.yaml", "--folder", "new"]):
        assert message in refused(sparring(*verb))
    assert not (tmp_path / "new").exists()
    assert message in (refusal := refused(sparring("run", "bad.yaml", "--folder", "run"))) or "another conf" in refusal
    again = sparring("run", good, "--folder", "run")
    assert again.exit_code == 0
    assert "nothing was left to do" in again.err


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (MemoryError(), 2, "the memory of this machine, or of its GPU, does not suffice; take fewer seeds"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 2, "does not suffice; take fewer"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 2, "does not suffice; take fewer"),
        (LabellingError("3 of 3 labels failed: out_of_memory, EMT ran out of memory"), 4, "3 of 3 labels failed"),
    ],
)
def test_a_lack_of_memory_is_one_line_and_no_failed_label_is_taken_for_it(
    error, exit_code, message, sparring, well_file, monkeypatch
):
    def lacking(planned, cache):
        raise error

    monkeypatch.setattr("sparring.commands.running.loop.run", lacking)
    answer = sparring("run", well_file({"generations": 1}), "--folder", "run")
    assert answer.exit_code == exit_code
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_a_changed_configuration_is_refused_on_the_command_line(sparring, well_file):
    assert sparring("run", well_file({"generations": 1}), "--folder", "run").exit_code == 0
    refusal = refused(sparring("run", well_file({"generations": 1, "seed": 4}), "--folder", "run"))
    assert "seed: 0 -> 4" in refusal
    assert "--folder" in refusal


def test_a_folder_without_a_committee_is_refused(sparring, tmp_path):
    (tmp_path / "one.xyz").write_text(GOOD)
    assert "holds no committee" in refused(sparring("evaluate", tmp_path, "one.xyz"))


def test_an_attack_whose_seeds_have_no_labels_asks_for_a_reference(
    sparring, finished_molecules, molecules_file, tmp_path
):
    write_structures(tmp_path / "seeds.xyz", [molecule("N2")])
    committee = finished_molecules / "generation-02"
    answer = sparring("attack", committee, "seeds.xyz", "--config", molecules_file(), "--output", "out.xyz")
    assert "REF_energy" in refused(answer)
    assert not (tmp_path / "out.xyz").exists()


def test_an_interrupted_command_says_how_to_go_on(sparring, well_file, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(running.loop, "run", interrupted)
    answer = sparring("run", well_file())
    assert answer.exit_code == 5
    kept = "files that were finished are kept; the same command starts the rest again"
    assert answer.err.endswith(f"stopped by Ctrl-C; {kept}\n")


def test_an_error_of_ours_is_not_dressed_up_as_the_users(sparring, well_file, monkeypatch):
    def broken(*_, **__):
        raise AssertionError("an invariant")

    monkeypatch.setattr(running.loop, "run", broken)
    with pytest.raises(AssertionError, match="an invariant"):
        sparring("run", well_file())


def test_numbers_in_the_table_are_those_of_the_run(sparring, finished_well):
    rows = [line.split() for line in sparring("status", finished_well).out.split("\n")]
    (row,) = [row for row in rows if row[:1] == ["3"]]
    predictions = read_labelled(finished_well / "generation-03" / "predictions.extxyz", allow_dummy=True)
    tested = [one for one in predictions if one.info["split"] == "test"]
    missed = [one.info["committee_energy"] - one.info["REF_energy"] for one in tested]
    assert float(row[2]) == pytest.approx(np.abs(missed).mean(), abs=5e-4)
