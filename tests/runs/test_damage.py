"""Every file of a finished run is under a checksum: whatever is damaged is named, with the remedy."""

import json
import os
import re
import shutil

import pytest

from sparring import read_committee, status, verify, write_committee
from sparring.commands import running
from sparring.commands.running import run
from sparring.committee_files import FILES
from sparring.config import load
from sparring.reporting import report
from sparring.runs.folder import RunFolder, RunFolderError
from sparring.runs.generation import Generation
from sparring.runs.label_records import require_labels
from sparring.runs.manifests import read_run_manifest, write_run_manifest
from sparring.runs.saved_run import SavedRun
from sparring.support.checksums import DamagedFileError
from sparring.validation.errors.common_set import compare_committees

NO_DATA = ("lock",)
DAMAGES = ("flipped", "cut off", "emptied", "removed")
WRITTEN_AGAIN = re.compile(r"(metrics|versions|inputs)\.json|config\.yaml|report\.html|figures/|validation/")


@pytest.fixture(scope="module")
def whole(finished_well, tmp_path_factory):
    """A finished run with its report and a result of a validation."""
    folder = tmp_path_factory.mktemp("whole") / "well"
    shutil.copytree(finished_well, folder)
    run(folder / "config.yaml", folder)
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


@pytest.fixture
def no_figures(monkeypatch):
    """Folders whose report was drawn again."""
    drawn = []
    monkeypatch.setattr(running, "report", drawn.append)
    return drawn


def files_of(folder):
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name not in NO_DATA
    )


def damage(file, kind, place=0.5):
    content = bytearray(file.read_bytes())
    if kind == "removed":
        file.unlink()
        return
    if kind == "flipped" and content:
        content[int(len(content) * place)] ^= 1
    file.write_bytes({"flipped": content, "cut off": content[: len(content) // 2], "emptied": b""}[kind])


class Snapshot:
    """All files of a folder, to be put back."""

    def __init__(self, folder):
        self.folder = folder
        self.contents = {name: (folder / name).read_bytes() for name in files_of(folder)}
        self.times = {name: (folder / name).stat().st_mtime_ns for name in self.contents}

    def restore(self):
        for name in set(files_of(self.folder)) - set(self.contents):
            (self.folder / name).unlink()
        for name, content in self.contents.items():
            file = self.folder / name
            if not file.exists() or file.stat().st_mtime_ns != self.times[name]:
                file.write_bytes(content)
                os.utime(file, ns=(self.times[name], self.times[name]))


def opened(folder, config):
    """What `sparring run` says of a run before it goes through its stages."""
    lines = []
    try:
        with RunFolder(folder, config, lines.append) as opened:
            require_labels(opened.saved, folder / "labels", lines.append)
    except (RunFolderError, ValueError) as error:
        lines.append(str(error))
    return "\n".join(lines)


@pytest.mark.parametrize(
    "kind", [one if one in ("flipped", "cut off") else pytest.param(one, marks=pytest.mark.slow) for one in DAMAGES]
)
def test_every_file_that_is_damaged_is_named_by_run_and_by_verify(kind, copied):
    config, snapshot = load(copied / "config.yaml"), Snapshot(copied)
    assert len(snapshot.contents) > 60
    assert opened(copied, config) == ""
    assert verify(copied).problems == ()
    unnamed = []
    for name, content in snapshot.contents.items():
        if len(content) <= 1 and kind in ("cut off", "emptied"):
            continue
        if kind == "removed" and name.startswith("labels/") and not is_named(copied, name):
            continue
        damage(copied / name, kind)
        found = "\n".join(verify(copied).problems)
        if name not in found and not (kind == "removed" and name.startswith("labels/")):
            unnamed.append(("verify", name, found))
        # What is written again is enough for one kind of damage: verify has seen the others.
        if kind in ("flipped", "removed"):
            said = opened(copied, config)
            if name not in said and name.rpartition("/")[2] not in said:
                unnamed.append(("run", name, said))
        snapshot.restore()
    assert not unnamed
    assert verify(copied).problems == ()


def is_named(folder, record):
    """True if the newest data set has the label of a record."""
    key = record.removeprefix("labels/").removesuffix(".json")
    return key in {atoms.info.get("label") for atoms in SavedRun(folder).generations()[-1].frames()}


@pytest.mark.parametrize("place", [0.0, 0.3, 0.999])
def test_damage_is_found_wherever_it_is(place, copied):
    names = [name for name in files_of(copied) if not name.endswith((".svg", ".png"))]
    for name in names:
        if (copied / name).stat().st_size:
            damage(copied / name, "flipped", place)
    problems = "\n".join(verify(copied).problems)
    # Of a generation whose manifest is damaged, and beside damaged checksums, nothing else can be said.
    for name in ("copy/manifest.json", "generation-01/manifest.json", "figures/checksums.json"):
        assert re.search(rf"{re.escape(name)} (cannot be read|has changed)", problems)
    assert len(re.findall(r"labels/\w{64}\.json ", problems)) == 8


def test_a_result_that_is_damaged_is_refused_by_run_and_nothing_is_written(copied, no_figures):
    config = load(copied / "config.yaml")
    damage(copied / "generation-02" / "paths.npz", "cut off")
    before = Snapshot(copied).contents
    text = (
        r"generation-02/paths\.npz has changed since it was written; restore it, or delete .*generation-02 and the gen"
    )
    with pytest.raises(RunFolderError, match=text):
        run(config, copied)
    assert Snapshot(copied).contents == before
    assert no_figures == []


READERS = {
    "generation-03/dataset.extxyz": lambda folder: Generation(folder / "generation-03").dataset(),
    "generation-03/predictions.extxyz": report,
    "generation-02/labelled.extxyz": report,
    "generation-02/failures.csv": status,
    "generation-02/paths.npz": report,
    "generation-03/committee.json": lambda folder: read_committee(folder / "generation-03"),
    "generation-03/committee.safetensors": lambda folder: read_committee(folder / "generation-03"),
    "generation-03/expected_errors.json": lambda folder: read_committee(folder / "generation-03"),
    "generation-01/manifest.json": status,
    "generation-02/evaluation.json": lambda folder: Generation(folder / "generation-02").evaluation(),
    "generation-02/training.csv": report,
    "manifest.json": status,
    "config.yaml": status,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["flipped", "emptied"])
def test_readers_refuse_what_is_damaged_by_its_name(name, kind, copied):
    if not (copied / name).stat().st_size:
        (copied / name).write_text("more\n")
    else:
        damage(copied / name, kind)
    with pytest.raises(
        (RunFolderError, DamagedFileError), match=rf"{name}.* (has changed|cannot be read|is missing or)"
    ):
        READERS[name](copied)


def test_commands_refuse_a_committee_of_another_generation_by_its_name(copied, sparring):
    for name in FILES:
        shutil.copyfile(copied / "generation-01" / name, copied / "generation-03" / name)
    data = copied / "generation-01" / "dataset.extxyz"
    for words in (("evaluate", copied / "generation-03", data), ("validate", "errors", copied / "generation-03")):
        answer = sparring(*words)
        assert answer.exit_code == 2
        assert re.search(r"generation-03/committee\.\w+ has changed since it was written; restore it", answer.err)


def test_a_data_set_of_a_run_that_was_changed_is_no_input_of_other_commands(copied, sparring):
    data = copied / "generation-01" / "dataset.extxyz"
    data.write_text(data.read_text().replace("1", "2", 1))
    answer = sparring("evaluate", copied / "generation-03", data)
    assert answer.exit_code == 2
    assert "generation-01/dataset.extxyz has changed since it was written" in answer.err


@pytest.mark.parametrize(
    ("old", "new"), [('"cutoff": 3.0', '"cutoff": 4.0'), ('"envelope": true', '"envelope": false')]
)
def test_a_committee_whose_description_was_changed_is_refused_outside_of_a_run_too(old, new, committee, tmp_path):
    write_committee(tmp_path, committee())
    assert verify(tmp_path).problems == ()
    file = tmp_path / "committee.json"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DamagedFileError, match=r"committee\.json has changed since it was written: its SHA-256"):
        read_committee(tmp_path)
    assert "committee.json has changed" in verify(tmp_path).problems[0]


def test_a_committee_of_an_older_version_has_no_checksum_of_its_description_and_is_read(committee, tmp_path):
    write_committee(tmp_path, committee())
    about = json.loads((tmp_path / "committee.json").read_text())
    del about["sha256"]
    (tmp_path / "committee.json").write_text(json.dumps(about))
    assert read_committee(tmp_path).n_members == 3


# --- what is written again -----------------------------------------------------------------------------------------


def test_a_configuration_changed_by_hand_is_refused_with_the_lines_and_comes_back_when_it_is_deleted(
    copied, no_figures
):
    config, file = load(copied / "config.yaml"), copied / "config.yaml"
    text = file.read_text()
    file.write_text(text.replace("seed: 0", "seed: 1"))
    lines = r"config\.yaml has changed since it was written:\n  was: seed: 0\n  is : seed: 1\nFor another configuration"
    with pytest.raises(RunFolderError, match=lines):
        run(config, copied)
    with pytest.raises(RunFolderError, match=lines):
        run(file, copied)
    file.unlink()
    said = []
    run(config, copied, log=said.append)
    assert said[0] == f"{file} is missing; it is written again"
    assert file.read_text() == text
    file.unlink()
    with pytest.raises(RunFolderError, match="seed: 0 -> 1"):
        run(config.model_copy(update={"seed": 1}), copied)


@pytest.mark.parametrize("kind", DAMAGES)
def test_the_record_of_input_files_cannot_be_switched_off(kind, molecules_file, molecules, tmp_path):
    file = molecules_file()
    with RunFolder(tmp_path / "run", load(file)) as folder:
        folder.path.joinpath("generation-01").mkdir()
        folder.path.joinpath("generation-01", "manifest.json").write_text("{}")
    damage(tmp_path / "run" / "inputs.json", kind)
    source = tmp_path / "molecules.xyz"
    source.write_text(source.read_text().replace("0", "1", 1))
    with pytest.raises(RunFolderError, match=r"the structures in .*molecules\.xyz are others"):
        RunFolder(tmp_path / "run", load(file)).__enter__()


@pytest.mark.parametrize("name", ["report.html", "figures/overview.svg", "figures/checksums.json"])
@pytest.mark.parametrize("kind", ["flipped", "removed"])
def test_a_damaged_report_is_named_and_drawn_again(name, kind, copied, no_figures):
    damage(copied / name, kind)
    lines = []
    run(copied / "config.yaml", copied, log=lines.append)
    state = "is missing" if kind == "removed" else "has changed since it was written"
    assert lines[0] == f"{copied / name} {state}; the report is drawn again"
    assert no_figures == [copied]


def test_a_damaged_result_of_a_validation_is_named_and_computed_again(copied, monkeypatch):
    file = copied / "validation" / "common_errors.json"
    before = file.read_bytes()
    monkeypatch.setattr(running, "report", compare_committees)
    damage(file, "flipped")
    lines = []
    run(copied / "config.yaml", copied, log=lines.append)
    assert lines[0].startswith(
        f"{file} has changed since it was written; it was moved to common_errors.json.damaged, what the"
    )
    assert file.read_bytes() == before


def test_a_run_killed_while_it_draws_its_report_draws_an_older_page_again(copied, no_figures, monkeypatch):
    config = load(copied / "config.yaml").model_copy(update={"generations": 4})

    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running, "report", killed)
        with pytest.raises(KeyboardInterrupt):
            run(config, copied)
    assert SavedRun(copied).generation(4).stages_done == ("data", "fit", "evaluate")
    assert no_figures == []
    run(config, copied)
    assert no_figures == [copied]


def test_label_records_that_are_damaged_are_refused_and_missing_ones_are_named(copied, no_figures):
    config = load(copied / "config.yaml")
    file = next(file for file in sorted((copied / "labels").glob("*.json")) if is_named(copied, f"labels/{file.name}"))
    content = file.read_bytes()
    file.write_bytes(content.replace(b'"converged": true', b'"converged": false'))
    with pytest.raises(RunFolderError, match=rf"{file.name} does not agree with its own checksum; delete this file"):
        run(config, copied)
    file.unlink()
    lines = []
    run(config, copied, log=lines.append)
    assert any(line.startswith(f"label records are missing in {copied / 'labels'}: {file.name};") for line in lines)


# --- what is in the way --------------------------------------------------------------------------------------------


def test_other_folders_in_a_run_break_nothing(copied, no_figures):
    for name in ("generation-02.bak", "generation-2", "Generation-01", ".nfs000123", "generation-002"):
        shutil.copytree(copied / "generation-02", copied / name)
    assert [one.generation for one in status(copied)] == [1, 2, 3]
    assert verify(copied).problems == ()
    report(copied)
    lines = []
    run(copied / "config.yaml", copied, log=lines.append)
    assert lines[-1] == "the run is finished: nothing was left to do"


def test_unfinished_files_of_a_killed_run_are_removed(copied, no_figures):
    left = [copied / ".config.yaml.0.tmp", copied / "generation-02" / ".paths.npz.1.tmp"]
    for file in left:
        file.write_text("half a li")
    run(copied / "config.yaml", copied)
    assert not any(file.exists() for file in left)


def test_a_folder_that_is_refused_is_left_as_it_is(well_file, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("a: 1\n")
    with pytest.raises(RunFolderError, match="was not written by a run, and would be overwritten"):
        run(well_file(), tmp_path / "mine")
    assert files_of(tmp_path / "mine") == ["config.yaml"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["config.yaml"]


# --- verify --------------------------------------------------------------------------------------------------------


def test_verify_counts_files_or_names_what_is_wrong(copied, sparring):
    answer = sparring("verify", copied)
    assert (answer.exit_code, answer.err) == (0, "")
    assert re.fullmatch(r"\d\d+ files are as they were written\n", answer.out)
    assert sparring("verify", copied / "generation-02").exit_code == 0
    assert sparring("verify", copied / "labels").out == "8 files are as they were written\n"
    damage(copied / "generation-02" / "splits.json", "removed")
    damage(copied / "generation-03" / "metrics.json", "emptied")
    answer = sparring("verify", copied)
    assert answer.exit_code == 2
    assert [
        re.search(r"generation-0\d/\w+\.\w+ (is missing|has changed)", line)[0] for line in answer.out.splitlines()
    ] == [
        "generation-02/splits.json is missing",
        "generation-03/metrics.json has changed",
    ]


def test_verify_reads_the_records_of_a_run_in_a_store_elsewhere(well_file, finished_well, tmp_path, no_figures):
    store = shutil.copytree(finished_well / "labels", tmp_path / "store")
    run(well_file({"labels.store": store, "generations": 2}), tmp_path / "run")
    assert verify(tmp_path / "run").problems == ()
    record = next(file for file in sorted(store.iterdir()) if is_named(tmp_path / "run", f"labels/{file.name}"))
    damage(record, "flipped", 0.9)
    assert record.name in "".join(verify(tmp_path / "run").problems)


def test_verify_refuses_a_folder_without_checksums(tmp_path, sparring):
    answer = sparring("verify", tmp_path)
    assert answer.exit_code == 2
    assert "holds nothing with checksums; give a run folder" in answer.err


def test_a_manifest_that_was_written_by_hand_is_refused(copied):
    manifest = read_run_manifest(copied)
    write_run_manifest(copied, manifest)  # as it is: nothing changes
    assert verify(copied).problems == ()
    text = (copied / "manifest.json").read_text()
    (copied / "manifest.json").write_text(text.replace('"changes": []', '"changes": ["x"]'))
    with pytest.raises(
        RunFolderError, match=r"manifest\.json has changed since it was written; restore it from a copy"
    ):
        status(copied)
