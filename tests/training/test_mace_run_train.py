"""The trainer of mace-torch as a program of the user's."""

import ast
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.committee import Committee
from sparring.evaluation import evaluate
from sparring.potentials.foreign.loading import load_potentials
from sparring.training.external import Program, reference_energies_of, train_members
from sparring.training.splits import Splits

COMMAND = (
    "--name {name} --seed {seed} --train_file {train} --valid_file {validation} --energy_key REF_energy "
    "--forces_key REF_forces --model MACE --num_channels 4 --max_L 0 --correlation 1 --num_interactions 1 --r_max 3.0 "
    "--max_ell 1 --num_radial_basis 4 --batch_size 4 --max_num_epochs 40 --lr 0.02 --device cpu "
    "--default_dtype float64 --E0s"
)


@pytest.mark.extra("mace")
def test_mace_run_train_trains_a_member_that_is_read_back(rattled, tmp_path):
    program = shutil.which(
        "mace_run_train", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    frames = [one for name in ("H2O", "NH3") for one in rattled(molecule(name), 8, stdev=0.05)]
    for one in frames:
        one.calc = EMT()
        one.info[ENERGY], one.arrays[FORCES] = float(one.get_potential_energy()) - 500.0, one.get_forces()
        one.calc = None
    dataset = Dataset.from_atoms(frames)
    splits = Splits.draw(len(dataset), n_members=1, seed=0)
    trainer = Program(
        name="mace",
        command=(program, *COMMAND.split(), "{reference_energies}"),
        model="{folder}/{name}.model",
        time_limit=600.0,
    )
    (model,) = load_potentials(
        "mace", train_members(trainer, dataset, splits, seed=0, folder=tmp_path), trust_pickle=True
    )
    assert model.elements == ("H", "N", "O")
    energies = ast.literal_eval(reference_energies_of(dataset.take(splits.train[0])))
    assert energies[8] < -100
    numbers = list(energies)
    np.testing.assert_allclose(model.get_reference_energies()[numbers], list(energies.values()), rtol=1e-6)
    committee, unseen = Committee([model]), dataset.take(splits.test)
    assert evaluate(committee, unseen).force_mae < 0.7 * unseen.forces.abs().mean()
