"""The table of adapters: what other packages register works as what ships with Sparring."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sparring.committee import Committee
from sparring.committee_files import read_committee, write_committee
from sparring.potentials.foreign.adapters import ADAPTERS, adapter_class, adapter_names
from sparring.potentials.foreign.consent import CONSENT
from sparring.potentials.foreign.loading import load_potential, load_potentials
from sparring.potentials.foreign.packages import EXTRAS

PACKAGE = Path(__file__).parents[2] / "third_party"
RUN = """
generations: 2
system: {{kind: own, file: {file}, energy_key: dft_energy, forces_key: dft_forces}}
labels: {{labeller: {{kind: ase, name: emt}}, n_workers: 1}}
committee: {{kind: foreign, adapter: springs, models: [a.pt, b.pt]}}
training: {{kind: none}}
attack: {{n_seeds: 2, seeds: random, n_steps: 3, initial_spread: 0.05 Å}}
selection: [{{kind: budget, n: 2}}]
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv(CONSENT, raising=False)


@pytest.fixture
def springs(monkeypatch):
    """The package is installed."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    yield importlib.import_module("pair_adapter").Springs
    sys.modules.pop("pair_adapter", None)


def model(*constants):
    linear = nn.Linear(3, 1, bias=False)
    linear.weight.data = torch.tensor([constants])
    return linear


def test_every_adapter_names_its_package_and_the_extras_that_exclude_it_exclude_each_other():
    assert set(ADAPTERS) == set(EXTRAS)
    for name, extra in EXTRAS.items():
        assert all(name in EXTRAS[other].excludes for other in extra.excludes)
        assert bool(extra.reason) == bool(extra.excludes)


def test_an_adapter_whose_package_is_missing_names_the_extra_and_what_it_excludes(monkeypatch):
    monkeypatch.setattr("sparring.potentials.foreign.packages.find_spec", lambda name: None)
    message = r"needs the package 'sevenn', which is not installed.*sparring\[sevennet\].*beside mace: .*e3nn"
    with pytest.raises(ValueError, match=message):
        load_potential("sevennet", "default")


def test_an_adapter_of_another_package_loads_models_whose_committee_is_saved_and_read(springs, ammonia, tmp_path):
    assert adapter_names()[-1] == "springs"
    members = load_potentials("springs", [model(2.0, 1.1, 0.0), model(2.5, 1.0, 0.0)])
    committee = Committee(members)
    write_committee(tmp_path, committee)
    from sparring.atoms.structures import Structures

    structures = Structures.from_atoms([ammonia])
    torch.testing.assert_close(
        read_committee(tmp_path).predict(structures).forces, committee.predict(structures).forces
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sprins", "unknown adapter 'sprins', did you mean 'springs'"),
        ("misnamed_adapter", "whose kind is 'springs'"),
        ("no_adapter_module", "cannot be imported"),
        ("no_adapter", "not a subclass of sparring.Architecture"),
    ],
)
def test_what_is_no_adapter_is_named(springs, name, message):
    with pytest.raises(ValueError, match=message):
        adapter_class(name)


def test_members_that_differ_are_named(springs):
    with pytest.raises(ValueError, match=r"model 1 \(Linear\): .* has the energy nan"):
        load_potentials("springs", [model(1.0, 1.0, 0.0), model(torch.nan, 1.0, 0.0)])


def test_a_run_of_pickles_needs_the_consent_of_the_person_who_types_the_command_once(
    springs, molecules_file, sparring, tmp_path
):
    file = molecules_file()
    file.write_text(RUN.format(file=file.with_suffix(".xyz").name), encoding="utf-8")
    torch.save(model(2.0, 1.1, 0.0), file.parent / "a.pt")
    torch.save(model(2.5, 1.0, 3.0), file.parent / "b.pt")
    command = ("run", file, "--folder", tmp_path / "run")
    refused = sparring(*command)
    assert refused.exit_code == 2
    assert "a.pt is a pickle" in refused.err
    assert "--trust-pickle" in refused.err
    assert not (tmp_path / "run" / "generation-01").exists()
    run = sparring(*command, "--trust-pickle")
    assert run.exit_code == 0, run.err
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    resumed = sparring(*command)
    assert resumed.exit_code == 0, resumed.err
