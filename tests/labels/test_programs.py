"""A configuration is data: whatever it says, no program of its choice is run, by no calculator that ASE knows."""

import contextlib
import inspect
import os
import subprocess
import warnings
from pathlib import Path

import pytest
from ase import Atoms
from ase.calculators.calculator import get_calculator_class
from ase.calculators.names import names
from pydantic import ValidationError

from sparring.config import ConfigError, load
from sparring.config.labellers import ASE, Plugin
from sparring.labels import ASECalculator

MARK = "/tmp/sparring-was-run"
PAYLOADS = (f"touch {MARK}", f"x; touch {MARK}", f"x\nshell touch {MARK}", f"shell touch {MARK}")
KEYS = """
    command profile label prefix directory restart exe binary mpi pbs script runner castep_command amber_exe
    label_command lmpcmds amendments lammps_header lammps_options model_init files infile userscr scratch processes
    walltime calculate_energy define_str task method raw external orcablocks inp input_data _castep_command _seed seed
    txt extra_mdrun_parameters force_field options xc basis pair_style fix extra
"""


def keys_of(name):
    """All that a calculator may be told by name, as far as its class says so, and what people have tried."""
    keys = set(KEYS.split())
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_calculator_class(name)
        keys |= set(getattr(found, "default_parameters", {}))
        keys |= set(inspect.signature(found.__init__ if isinstance(found, type) else found).parameters)
    return sorted(keys - {"self", "args", "kwargs"})


class Ran(Exception):
    """Something would have been run."""


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """What would have been run; all programs of ASE are there, and none is started."""
    seen = []

    def record(*command, **how):
        seen.append(str(command))
        raise Ran

    def start(process, command, *rest, shell=False, **how):
        # Without a shell, only the first word decides what is run.
        seen.append(str(command if shell or isinstance(command, str) else command[0]))
        raise Ran

    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    for name in names:
        monkeypatch.setenv(f"ASE_{name.upper()}_COMMAND", f"{program} PREFIX")
    for variable in ("CASTEP", "DFTB", "DMOL", "OPENMX", "VASP", "ASE_GAMESSUS"):
        monkeypatch.setenv(f"{variable}_COMMAND", str(program))
    monkeypatch.setattr("sparring.labels.ase.require_program", lambda name, found: None)
    monkeypatch.setattr(subprocess.Popen, "__init__", start)
    monkeypatch.setattr(subprocess.Popen, "__del__", lambda self: None)
    for call in ("system", "popen", "execv", "execve", "execvp", "execvpe", "posix_spawn", "spawnv", "spawnve"):
        monkeypatch.setattr(os, call, record)
    monkeypatch.chdir(tmp_path)
    return seen


@pytest.mark.parametrize("name", names)
@pytest.mark.filterwarnings("ignore")  # ASE has many for parameters that make no sense
def test_no_parameter_of_a_calculator_by_name_runs_a_program(name, commands):
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.8]], cell=[5, 5, 5], pbc=True)
    for key in keys_of(name):
        for value in (*PAYLOADS[: 4 if "lammps" in name else 2], [PAYLOADS[1]], {"command": PAYLOADS[0]}):
            try:
                section = ASE(kind="ase", name=name, parameters={key: value})
            except ValidationError:
                continue
            with contextlib.suppress(Exception):
                ASECalculator(section.name, section.parameters)(atoms)
            assert not any(MARK in command for command in commands), (key, value, commands)


@pytest.mark.parametrize(
    ("name", "parameters", "told"),
    [
        (
            "nwchem",
            {"command": f"touch {MARK}"},
            r"command = 'touch .*Add \[nwchem\] command = ... to your own ~/.config",
        ),
        ("gaussian", {"command": f"touch {MARK}"}, "names a program; a configuration is data"),
        ("mopac", {"command": f"touch {MARK}"}, "must not name programs"),
        ("orca", {"profile": {"command": f"touch {MARK}"}}, r"profile = \{'command': 'touch"),
        ("amber", {"amber_exe": f"touch {MARK}"}, "amber_exe = 'touch"),
        ("castep", {"castep_command": f"touch {MARK}"}, "castep_command = 'touch"),
        ("kim", {"model_name": "LJ", "options": {"lammps_command": "touch"}}, "options.lammps_command = 'touch'"),
        ("qchem", {"scratch": f"x; touch {MARK}"}, "goes into a command line of qchem"),
        ("nwchem", {"label": f"x; touch {MARK}"}, "label is not to be set: every label is computed in a folder"),
        ("lammpslib", {"lmpcmds": ["pair_style lj/cut 5", "shell touch x"]}, "lmpcmds: 'shell touch x' could run a"),
        ("lammpslib", {"lmpcmds": ["variable s string shell", "${s} touch x"]}, "could run a program"),
        ("nwchem", {"task": 'shell "touch x"'}, "could make nwchem run a program"),
        ("gaussian", {"external": "touch"}, "could make gaussian run a program"),
        ("orca", {"orcablocks": '%method ProgExt "touch" end'}, "could make orca run a program"),
        ("turbomole", {"calculate_energy": "/tmp/evil"}, "calculate_energy = '/tmp/evil' names a program; dscf"),
        ("openmx", {"mpi": {"processes": "1; touch x"}}, "names a program"),
    ],
)
def test_a_parameter_that_names_a_program_is_refused_and_told_where_it_belongs(name, parameters, told):
    with pytest.raises(ValidationError, match=told):
        ASE(kind="ase", name=name, parameters=parameters)


def test_a_plugin_gets_no_program_from_a_configuration_either():
    with pytest.raises(ValidationError, match="command = 'touch x' names a program"):
        Plugin(kind="plugin", name="own", parameters={"command": "touch x"})
    with pytest.raises(ValidationError, match=r"code\.exe = 'touch x' names a program"):
        Plugin(kind="plugin", name="own", parameters={"code": {"exe": "touch x"}})


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("emt", {"asap_cutoff": True}),
        ("orca", {"orcasimpleinput": "B3LYP def2-SVP", "orcablocks": "%pal nprocs 2 end\n%scf maxiter 50 end"}),
        ("nwchem", {"dft": {"xc": "pbe96", "iterations": 100}, "basis": "6-31g*"}),
        ("gaussian", {"method": "B3LYP", "basis": "6-31G*", "mem": "1GB", "nprocshared": 1}),
        (
            "espresso",
            {"input_data": {"system": {"ecutwfc": 40}}, "pseudopotentials": {"Si": "Si.upf"}, "kpts": [2, 2, 2]},
        ),
        ("cp2k", {"inp": "&FORCE_EVAL\n&END FORCE_EVAL", "xc": "PBE", "cutoff": 4000.0}),
        ("lammpslib", {"lmpcmds": ["pair_style eam/alloy", "pair_coeff * * NiAlH_jea.eam.alloy Ni H"]}),
        ("lammpsrun", {"pair_style": "eam/alloy", "pair_coeff": ["* * NiAlH_jea.eam.alloy Ni"], "binary_dump": False}),
        ("vasp", {"xc": "pbe", "encut": 400, "setups": {"base": "recommended"}, "kpts": [1, 1, 1]}),
        ("siesta", {"fdf_arguments": {"SCFMustConverge": True}, "mesh_cutoff": 200}),
        ("dftb", {"Hamiltonian_SCC": "Yes", "slako_dir": "./slako/"}),
        ("tblite", {"method": "GFN2-xTB"}),
        ("gpaw", {"mode": {"name": "lcao"}, "txt": None, "symmetry": "off"}),
    ],
)
def test_ordinary_parameters_are_taken(name, parameters):
    assert ASE(kind="ase", name=name, parameters=parameters).parameters == parameters


CONFIG = """
generations: 1
system: {{kind: own, file: start.xyz}}
labels: {{labeller: {{kind: ase, name: nwchem, parameters: {parameters}}}}}
"""


def test_a_configuration_that_runs_a_program_is_refused_when_it_is_read(tmp_path):
    file = tmp_path / "evil.yaml"
    for parameters in (f'{{command: "touch {tmp_path}/ran"}}', f'{{label: "x; touch {tmp_path}/ran"}}'):
        file.write_text(CONFIG.format(parameters=parameters))
        with pytest.raises(ConfigError, match=r"evil.yaml:4.*labels.labeller.*(names a program|not to be set)"):
            load(file)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("orca", r"ASE finds no executable for 'orca'; add \[orca\] command = \.\.\. to ~/.config/ase/config.ini"),
        ("espresso", r"ASE finds no executable for 'espresso'; add \[espresso\]"),
        ("aims", r"ASE finds no executable for 'aims'"),
        ("cp2k", r"ASE finds no executable for 'cp2k'.*or set ASE_CP2K_COMMAND in the environment"),
        ("vasp", r"ASE finds no executable for 'vasp'"),
        ("nwchem", r"ASE would run 'nwchem' \(its default\) for 'nwchem', which is not there; add \[nwchem\]"),
        ("lammpsrun", r"ASE would run 'lammps' \(its default\) for 'lammpsrun', which is not there"),
        ("exciting", "cannot be made from a configuration: its class takes a runner, which is a Python object"),
        ("plumed", "cannot be made from a configuration"),
    ],
)
def test_a_code_that_is_not_configured_is_one_line(name, told, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match=told) as error:
        ASECalculator(name)
    assert "\n" not in str(error.value)


LAMMPS = '''#!{python}
"""Answers as LAMMPS does for two argon atoms, as far as ASE asks."""
import re, struct, sys
dump, n = None, 0
for line in sys.stdin:
    words = line.split()
    if words[:1] == ["dump"]:
        dump = words[5]
    if words[:1] == ["run"]:
        print("Step Temp Press CPU Pxx Pyy Pzz Pxy Pxz Pyz KinEng PotEng TotEng Volume Lx Ly Lz Atoms")
        print("0 0 0 0 0 0 0 0 0 0 0 -1.5 -1.5 1000 10 10 10 2")
        print("Loop time of 0")
        with open(dump, "w") as file:
            file.write("ITEM: TIMESTEP\\n0\\nITEM: NUMBER OF ATOMS\\n2\\nITEM: BOX BOUNDS pp pp pp\\n")
            file.write("0 10\\n0 10\\n0 10\\n")
            file.write("ITEM: ATOMS id type x y z vx vy vz fx fy fz\\n1 1 0 0 0 0 0 0 0 0 1\\n")
            file.write("2 1 0 0 4 0 0 0 0 0 -1\\n")
    if "__end_of_ase_invoked_calculation__" in line:
        print(re.search(r'"?(__end\\w+)', line)[1], flush=True)
'''


@pytest.mark.filterwarnings("ignore:Loaded ASE_LAMMPSRUN_COMMAND from environment")  # ASE wants its own file
def test_lammpsrun_works_by_name(tmp_path, monkeypatch):
    import sys

    program = tmp_path / "lmp"
    program.write_text(LAMMPS.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("ASE_LAMMPSRUN_COMMAND", str(program))
    monkeypatch.chdir(tmp_path)
    labeller = ASECalculator(
        "lammpsrun", {"pair_style": "lj/cut 5", "pair_coeff": ["* * 0.01 3.4"], "binary_dump": False}
    )
    label = labeller(Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 4]], cell=[10, 10, 10], pbc=True))
    assert label.energy == -1.5
    assert label.forces.tolist() == [[0, 0, 1], [0, 0, -1]]
    assert [file.name for file in Path().iterdir()] == ["lmp"]
