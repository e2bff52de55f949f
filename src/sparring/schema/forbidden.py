"""Parameters of calculators that would run a program: a configuration is data, and may be somebody else's.

Commands belong in the user's own configuration of ASE. Three ways to a shell are closed here: parameters that name
programs, texts that an interface pastes into a command line, and lines of the input of a code whose language has a
command for it (``shell`` of LAMMPS, ``external`` of Gaussian).
"""

import re
from collections.abc import Iterator, Mapping

__all__ = ["refuse_programs"]

_WORDS = re.compile(
    r"(.*_)?(cmds?|exec?|executables?|binary|bin|prog|programs?|shell|runner|launch|scripts?|wrapper|argv|profiles?|pbs|"
    r"interpreter|hooks?)(_?(path|line|file|name|args?|options?))?_?\d*"
)
_PARTS = ("command", "execut", "mpi", "srun", "launcher")
"""Parts of the names of parameters that run programs."""
_OURS = {"label", "prefix", "directory", "restart", "ignore_bad_restart_file", "tmp_dir", "seed", "atoms"}
"""Every label has a folder and names of its own; names of files are pasted into command lines, too."""
_FILE = re.compile(r"[\w.,:+\-/=@%]*", re.ASCII)
_OPTIONS = re.compile(r"[\w .,:+\-/=@%]*", re.ASCII)
_PASTED = {"amber": _FILE, "qchem": _FILE, "gromacs": _OPTIONS, "openmx": _OPTIONS}
_LANGUAGES = {
    "gaussian": re.compile(r"external|subst\b|%\s*\w*sub", re.IGNORECASE),
    "nwchem": re.compile(r"\b(shell|python)\b", re.IGNORECASE),
    "orca": re.compile(r"compound|prog_?ext|ext_?opt|sys_?cmd", re.IGNORECASE),
    "siesta": re.compile(r"\blua\b", re.IGNORECASE),
    "lammpsrun": re.compile(r"[$&\n]|\b(shell|python|plugin|include|jump|mliappy)\b|^\s*-"),
    "kim": re.compile(r"[$&\n]|\b(shell|python|plugin|include|jump)\b"),
}
_ONE_LINE = {"gaussian": {"addsec", "basis_set", "basisfile", "ioplist"}}
"""Parameters that may have several lines, of codes where a line break begins another section."""
_LAMMPS_LINES = {"lmpcmds", "amendments", "lammps_header", "lammps_header_extra", "post_changebox_cmds"}
_LAMMPS_COMMANDS = (
    "angle_coeff angle_style atom_modify atom_style bond_coeff bond_style boundary box comm_modify comm_style "
    "dielectric dihedral_coeff dihedral_style dimension group improper_coeff improper_style kspace_modify kspace_style "
    "mass neigh_modify neighbor newton pair_coeff pair_modify pair_style processors set special_bonds suffix timestep "
    "units"
)
_TURBOMOLE = {"dscf", "ridft", "grad", "rdgrad", "ricc2", "rimp2", "mpgrad", "escf", "egrad"}


def refuse_programs(name: str, parameters: Mapping[str, object]) -> None:
    """Refuse parameters of a calculator or a plugin that can run a program.

    Args:
        name: The name of the calculator, or "" for a plugin.
        parameters: The parameters.

    Raises:
        ValueError: If one of them can.
    """
    for path, key, value in _entries(parameters):
        top = path == key
        if name == "lammpslib" and key in _LAMMPS_LINES:
            continue
        if _names_program(key):
            where = f" Add [{name}] command = ... to your own ~/.config/ase/config.ini" if name else ""
            raise ValueError(
                f"{path} = {value!r:.80} names a program; a configuration is data and must not name programs."
                f"{where or ' Let the package have its own configuration for it'}, or set it in the environment."
            )
        if name and top and (key in _OURS or key.startswith("_")):
            raise ValueError(f"{path} is not to be set: every label is computed in a folder of its own; leave it out")
        if isinstance(value, str):
            _refuse_text(name, path, value)
    _refuse_special(name, parameters)


def _entries(value: object, path: str = "", key: str = "") -> Iterator[tuple[str, str, object]]:
    """Every entry of nested parameters, and every text in a list, with where it is and what it is called."""
    if isinstance(value, Mapping):
        for name, entry in value.items():
            inner = f"{path}.{name}" if path else str(name)
            if not isinstance(entry, str):
                yield inner, str(name), entry
            yield from _entries(entry, inner, str(name))
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _entries(entry, path, key)
    elif isinstance(value, str):
        yield path, key, value


def _names_program(key: str) -> bool:
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key)  # also without: an odd capital must not hide a word
    for form in (key.casefold(), split.casefold()):
        words = [word for word in re.split(r"[^a-z0-9]+", form) if word]
        about = any(word.startswith(part) for word in words for part in _PARTS) or "command" in form
        if about or _WORDS.fullmatch("_".join(words)):
            return True
    return False


def _refuse_text(name: str, path: str, text: str) -> None:
    language = _LANGUAGES.get(name)
    if language is not None and (language.search(text) or language.search(path)):
        raise ValueError(f"{path} = {text!r:.80} could make {name} run a program; a configuration must not")
    if name in _PASTED and not _PASTED[name].fullmatch(text):
        raise ValueError(
            f"{path} = {text!r:.80} goes into a command line of {name}; letters, digits and . , : + - / = are allowed"
        )
    if name in _ONE_LINE and "\n" in text and path.partition(".")[0] not in _ONE_LINE[name]:
        raise ValueError(f"{path} = {text!r:.80} must be one line")


def _refuse_special(name: str, parameters: Mapping[str, object]) -> None:
    if name == "lammpslib":
        for key in sorted(_LAMMPS_LINES & set(parameters)):
            given = parameters[key]
            for line in (given,) if isinstance(given, str) else given if isinstance(given, list | tuple) else ():
                _refuse_lammps_line(key, str(line))
    if name == "turbomole":
        for key in ("calculate_energy", "calculate_forces"):
            if str(parameters.get(key, "dscf")) not in _TURBOMOLE:
                raise ValueError(
                    f"{key} = {parameters[key]!r:.80} names a program; {', '.join(sorted(_TURBOMOLE))} are allowed"
                )
        if "define_str" in parameters:
            raise ValueError("define_str is a script for a program, which a configuration must not have; leave it out")
    if name == "lammpsrun" and "lammps_options" in parameters:
        raise ValueError("lammps_options is part of a command line, which a configuration must not have; leave it out")


def _refuse_lammps_line(key: str, line: str) -> None:
    words = line.split()
    if not words or words[0].startswith("#"):
        return
    if words[0] not in _LAMMPS_COMMANDS.split() or re.search(r"[$&\n]|\bpython\b|mliap", line):
        raise ValueError(f"{key}: {line!r:.80} could run a program; allowed are, without variables, {_LAMMPS_COMMANDS}")
