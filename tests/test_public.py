import subprocess
import sys
import types
from importlib import resources

import pytest

import sparring
from sparring.cli import committee_verbs, label_verbs, run_verbs

MODULES = (run_verbs, committee_verbs, label_verbs)
VERBS = [command.callback.__name__ for module in MODULES for command in module.app.registered_commands]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_a_function_too(verb):
    assert isinstance(getattr(sparring, verb), types.FunctionType)


@pytest.mark.parametrize("name", sparring.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    value = getattr(sparring, name)
    assert name == "__version__" or value.__doc__
    assert name in dir(sparring)


def test_a_name_that_is_not_public_is_an_error_like_any_other():
    with pytest.raises(AttributeError, match="No sparring attribute atack"):
        sparring.atack  # noqa: B018


def test_everything_can_be_imported_at_once_and_in_any_order():
    program = (
        "from sparring import *; import sparring.proposers.ascent, sparring.commands; attack.__call__, report.__call__"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_shape_of_the_api_works_from_data_to_labels(molecules, tmp_path):
    sp = sparring
    emt = sp.ASECalculator("emt")
    labels = sp.label(molecules, emt, store=tmp_path)
    data = [sp.labelled_atoms(*row) for row in zip(molecules, labels.labels, labels.keys, strict=True)]
    dataset = sp.Dataset.from_atoms(data)
    network = sp.SchNet(n_features=8, n_filters=8, n_interactions=1, n_gaussians=4, cutoff=3.0)
    committee, _ = sp.fit(network, dataset, n_members=2, n_epochs=2, seed=0)
    objective = sp.boltzmann_weighted(sp.force_variance, kT=sp.quantity("20 kcal/mol"), reference=dataset)
    result = sp.attack(committee, dataset.structures.take([0, 5, 9]), objective, n_steps=2, seed=0)
    chosen = sp.select(result.candidates(), sp.Distinct(rmsd=0.01), sp.Budget(n=2))
    picked = result.structures.take(chosen.indices.tolist())
    report = sp.label(picked.to_atoms(), emt, store=tmp_path)
    assert report.n_computed == 2
    assert sp.evaluate(committee, dataset).n_structures == 12


def test_editors_are_told_that_the_package_is_typed():
    assert (resources.files("sparring") / "py.typed").is_file()
    assert (resources.files("sparring") / "__init__.pyi").is_file()


def test_a_type_checker_sees_the_signatures_of_public_functions(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import sparring\n\nreveal_type(sparring.attack)\n")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "--follow-imports=silent", program]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "def (committee: sparring.committee.Committee, seeds: sparring.atoms.structures.Structures" in told, told
    assert "-> sparring.proposers" in told


def test_where_a_folder_is_wanted_its_name_will_do(committee, tmp_path):
    written = committee(2)
    sparring.write_committee(f"{tmp_path}/new", written)
    assert sparring.read_committee(f"{tmp_path}/new").state()[1] == written.state()[1]
    with pytest.raises(ValueError, match="nowhere holds no committee: there is no committee"):
        sparring.read_committee("nowhere")
