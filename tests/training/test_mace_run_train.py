"""The trainer of mace-torch as a program of the user's."""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.potentials.foreign.loading import load_potentials
from sparring.training.external import Program, train_members
from sparring.training.splits import Splits

pytestmark = [  # by e3nn, as in test_mace.py
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD:UserWarning"),
    pytest.mark.filterwarnings("ignore:The TorchScript type system:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*dtype of model:UserWarning"),
]

COMMAND = (
    "--name {name} --seed {seed} --train_file {train} --valid_file {validation} --energy_key REF_energy "
    "--forces_key REF_forces --model MACE --num_channels 4 --max_L 0 --correlation 1 --num_interactions 1 --r_max 3.0 "
    "--max_ell 1 --num_radial_basis 4 --batch_size 4 --max_num_epochs 1 --device cpu --default_dtype float64 --E0s"
)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mace") is None, reason="the extra mace is not installed")
def test_mace_run_train_trains_members_that_are_read_back(rattled, tmp_path):
    program = shutil.which(
        "mace_run_train", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    frames = [one for name in ("H2O", "NH3") for one in rattled(molecule(name), 8, stdev=0.05)]
    for one in frames:
        one.calc = EMT()
        one.info[ENERGY], one.arrays[FORCES] = float(one.get_potential_energy()) - 500.0, one.get_forces()
        one.calc = None
    dataset = Dataset.from_atoms(frames)
    splits = Splits.draw(len(dataset), n_members=2, seed=0)
    trainer = Program(
        name="mace",
        command=(program, *COMMAND.split(), "{reference_energies}"),
        model="{folder}/{name}.model",
        time_limit=600.0,
    )
    models = train_members(trainer, dataset, splits, seed=0, folder=tmp_path)
    first, second = load_potentials("mace", models, trust_pickle=True)
    assert first.elements == ("H", "N", "O")
    energies = [float(one.get_reference_energies()[8]) for one in (first, second)]
    assert np.allclose(energies, energies[0], atol=50)  # least squares over their own training sets
    assert energies[0] < -100
