"""Labels by density-functional theory or Hartree-Fock, with PySCF."""

import copy
import re
import time
import warnings
from importlib.metadata import version as distribution_version
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from sparring.atoms.electronic_state import electronic_state
from sparring.labels.base import Label, LabelError
from sparring.labels.limits import threads_of_label
from sparring.support.suggestions import did_you_mean
from sparring.units import BOHR, HARTREE

# ORCA's BP86 has another local correlation than libxc's "bp86", and D3 needs its name: 0.011 kcal/mol from
# ORCA's relative energies of distorted ammonia, instead of 0.078.
_RECIPES = {"bp86": ("b88,gga_c_p86vwn", "bp86")}
LEVEL_SHIFT, DAMPING, MORE_CYCLES = 0.2, 0.3, 4
"""The second attempt: shift of virtual orbitals in Hartree, share of the old density, and factor of cycles."""
_METHOD = re.compile(r"(?P<functional>[^/]+?)(?:-(?P<dispersion>d3bj|d3zero|d4))?/(?P<basis>[^/]+)")
# Valence functions whose pseudopotential goes by another name: without it they are a wrong all-electron basis.
_NEED_A_PSEUDOPOTENTIAL = ("gth", "ccecp", "bfd")
_COMMON_ELEMENTS = ("H", "C", "O", "Na", "Fe", "I", "U")


class PySCF:
    """Labels of molecules at a level such as "BP86-D3BJ/def2-SVP", "PBE0-D4/def2-TZVP", "r2SCAN/cc-pVDZ", "HF/6-31G*".

    A functional is any that PySCF knows, with its dispersion correction (D3BJ, D3zero or D4) behind a hyphen; "BP86" is
    ORCA's. Heavy elements get the effective core potential of their basis. A multiplicity above 1 is computed
    unrestricted. An SCF that does not converge gives a label that has not converged, for which there is ``safer()``.
    One label takes one thread; many labels take many processes.

    Args:
        method: Functional and basis, with a stroke between them.
        auxiliary_basis: Basis for density fitting of the two-electron integrals; None computes them exactly.
        grid_level: Level of the integration grid, from 0 (coarse) to 9.
        energy_tolerance: Change of the energy in Hartree at which the SCF has converged.
        max_cycles: Maximum cycles of the SCF; its second attempt, by ``safer()``, has four times as many.

    Attributes:
        method: Level of theory with all settings, as in the key of a label.
        version: The versions of PySCF and, where it is used, of pyscf-dispersion.
        recipe: Words for the way to the converged density where it is not the usual one.

    Raises:
        ValueError: If functional, dispersion correction or basis are unknown or do not go together.
        ModuleNotFoundError: If PySCF is not installed.
    """

    def __init__(
        self,
        method: str = "BP86-D3BJ/def2-SVP",
        *,
        auxiliary_basis: str | None = "def2-universal-jkfit",
        grid_level: int = 3,
        energy_tolerance: float = 1e-9,
        max_cycles: int = 50,
    ) -> None:
        if not 0 <= grid_level <= 9 or not energy_tolerance > 0 or max_cycles < 1:
            raise ValueError(
                f"wanted grid_level 0 to 9, a positive energy_tolerance and max_cycles of at least 1, got "
                f"{grid_level}, {energy_tolerance} and {max_cycles}"
            )
        self._level = _parse(method)
        self._auxiliary_basis = _known_basis(auxiliary_basis) if auxiliary_basis is not None else None
        self._grid_level = grid_level
        self._energy_tolerance = energy_tolerance
        self._max_cycles = max_cycles
        self.recipe = ""
        self.method = self._describe(method)
        self.version = f"pyscf {distribution_version('pyscf')}"
        if self._level.dispersion is not None:
            self.version += f", pyscf-dispersion {distribution_version('pyscf-dispersion')}"

    def __repr__(self) -> str:
        return f"<{self.method}>"

    def __call__(self, atoms: Atoms) -> Label:
        """Compute the label of a molecule.

        Raises:
            LabelError: If the structure is periodic, has dummy atoms or an element that the basis lacks, or charge and
                multiplicity do not fit.
        """
        from pyscf import lib

        started = time.perf_counter()
        # PySCF recommends packages and announces future defaults by warnings; neither concerns a label.
        with lib.with_omp_threads(threads_of_label()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                molecule = self._molecule(atoms)
            except ValueError as error:
                raise LabelError("bad_input", str(error)) from error
            mean_field = self._mean_field(molecule)
            mean_field, energy = self._solved(mean_field)
            # Forces of a density that has not converged mean nothing.
            gradient = mean_field.nuc_grad_method().kernel() if mean_field.converged else np.nan
        return Label(
            energy=energy * HARTREE,
            forces=-np.asarray(gradient, dtype=float) * (HARTREE / BOHR) * np.ones((len(atoms), 3)),
            method=self.method,
            version=self.version,
            converged=bool(mean_field.converged),
            wall_time=time.perf_counter() - started,
        )

    def safer(self) -> "PySCF | None":
        """The same level with another way to the same density: level shift and damping, then second-order steps."""
        if self.recipe:
            return None
        safer = copy.copy(self)
        safer.recipe = (
            f"level shift {LEVEL_SHIFT:g} Hartree and damping {DAMPING:g}, then second-order SCF of up to "
            f"{MORE_CYCLES * self._max_cycles} cycles"
        )
        return safer

    def _solved(self, mean_field: Any) -> tuple[Any, float]:  # noqa: ANN401 - PySCF has no types
        """The mean field after the SCF, and its energy in Hartree."""
        if not self.recipe:
            return mean_field, float(mean_field.kernel())
        mean_field.level_shift, mean_field.damp = LEVEL_SHIFT, DAMPING
        mean_field.kernel()
        # They change the way, and would change the second-order steps, but not the energy at the end of it.
        mean_field.level_shift, mean_field.damp = 0.0, 0.0
        mean_field = mean_field.newton()
        mean_field.max_cycle = MORE_CYCLES * self._max_cycles
        return mean_field, float(mean_field.kernel(mean_field.mo_coeff, mean_field.mo_occ))

    def _describe(self, method: str) -> str:
        level = self._level
        parts = [
            f"PySCF {method.upper()}",
            f"functional={level.functional or 'hf'}",
            f"dispersion={level.dispersion}",
            f"basis={level.basis}",
            f"auxiliary_basis={self._auxiliary_basis}",
            f"grid_level={self._grid_level}",
            f"energy_tolerance={self._energy_tolerance:g}",
            f"max_cycles={self._max_cycles}",
        ]
        return " ".join(parts)

    def _molecule(self, atoms: Atoms) -> Any:  # noqa: ANN401 - PySCF has no types
        from pyscf import gto

        formula = atoms.get_chemical_formula()
        if atoms.pbc.any():
            raise ValueError(f"PySCF labels molecules, got {formula} with pbc {atoms.pbc.tolist()}; set it to False")
        if (atoms.numbers < 1).any():
            raise ValueError(f"PySCF needs chemical elements, got {formula} with dummy atoms (atomic number 0)")
        state = electronic_state(atoms)
        symbols = [chemical_symbols[number] for number in atoms.numbers]
        for symbol in dict.fromkeys(symbols):
            if not _has_functions(self._level.basis, symbol):
                raise ValueError(f"basis {self._level.basis!r} has no functions for {symbol} ({formula}); use another")
        basis = self._level.basis
        return gto.M(
            atom=list(zip(symbols, atoms.positions / BOHR, strict=True)),
            unit="Bohr",
            basis=basis,
            ecp={symbol: basis for symbol in dict.fromkeys(symbols) if _has_core_potential(basis, symbol)},
            charge=state.charge,
            spin=state.multiplicity - 1,
            verbose=0,
        )

    def _mean_field(self, molecule: Any) -> Any:  # noqa: ANN401 - PySCF has no types
        from pyscf import dft, scf

        unrestricted = molecule.spin > 0
        if self._level.functional is None:
            mean_field = (scf.UHF if unrestricted else scf.RHF)(molecule)
        else:
            mean_field = (dft.UKS if unrestricted else dft.RKS)(molecule, xc=self._level.functional)
            mean_field.grids.level = self._grid_level
        if self._auxiliary_basis is not None:
            mean_field = mean_field.density_fit(self._auxiliary_basis)
        if self._level.dispersion is not None:
            mean_field.disp = self._level.dispersion
        mean_field.conv_tol = self._energy_tolerance
        mean_field.max_cycle = self._max_cycles
        mean_field.chkfile = None
        return mean_field


class _Level(NamedTuple):
    """A level of theory as PySCF takes it; no functional is Hartree-Fock."""

    functional: str | None
    dispersion: str | None
    basis: str


def _parse(method: str) -> _Level:
    try:
        from pyscf.scf.dispersion import parse_disp
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('labels by PySCF need it: pip install "sparring[pyscf]"') from error

    match = _METHOD.fullmatch(method.strip().lower())
    if match is None:
        raise ValueError(f"wanted functional[-dispersion]/basis, such as 'BP86-D3BJ/def2-SVP', got {method!r}")
    functional, version = match["functional"], match["dispersion"]
    if version is None and functional.endswith(("-d", "-d2", "-d3")):
        raise ValueError(f"{method!r} leaves open which dispersion correction is meant; write -D3BJ, -D3zero or -D4")
    basis = _known_basis(match["basis"])
    if functional == "hf":
        return _Level(None, _known_dispersion(version, "hf"), basis)
    if functional in _RECIPES:
        functional, name = _RECIPES[functional]
        return _Level(functional, _known_dispersion(version, name), basis)
    # PySCF knows what else changes with the correction: that of ωB97M-V takes the place of VV10.
    functional = _known_functional(functional, version)
    name, version, _ = parse_disp(functional)
    return _Level(functional, _known_dispersion(version, name), basis)


def _known_functional(functional: str, version: str | None) -> str:
    from pyscf.dft import libxc
    from pyscf.scf.dispersion import parse_dft

    name = functional if version is None else f"{functional}-{version}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            libxc.parse_xc(parse_dft(name)[0])
        except (KeyError, ValueError, NotImplementedError) as error:
            known = [*libxc.XC_ALIAS, *(code.rpartition("_XC_")[2] for code in libxc.XC_CODES)]
            raise ValueError(
                f"unknown functional {functional!r}{did_you_mean(functional, known)} (PySCF: {error}); a "
                "dispersion correction is written behind it as -D3BJ, -D3zero or -D4"
            ) from None
    return name


def _known_dispersion(version: str | None, name: str) -> str | None:
    from pyscf import gto

    if version is None:
        return None
    try:
        from pyscf.dispersion import dftd3, dftd4
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{version.upper()} needs pyscf-dispersion: pip install pyscf-dispersion") from error
    hydrogen = gto.M(atom="H 0 0 0; H 0 0 1", basis="sto-3g", verbose=0)
    try:
        if version == "d4":
            dftd4.DFTD4Dispersion(hydrogen, xc=name)
        else:
            dftd3.DFTD3Dispersion(hydrogen, xc=name, version=version)
    except RuntimeError as error:
        raise ValueError(
            f"{version.upper()} has no parameters for {name!r} ({error}); leave the correction out or use another"
        ) from None
    return f"{version}:{name}"


def _known_basis(name: str) -> str:
    from pyscf.gto.basis import ALIAS

    if name.startswith(_NEED_A_PSEUDOPOTENTIAL):
        raise ValueError(f"basis {name!r} needs a pseudopotential, which this labeller does not set; use another")
    if not any(_has_functions(name, symbol) for symbol in _COMMON_ELEMENTS):
        raise ValueError(f"unknown basis {name!r}{did_you_mean(name.replace('-', ''), ALIAS)}; the names are PySCF's")
    return name


def _has_functions(basis: str, symbol: str) -> bool:
    from pyscf import gto

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(gto.basis.load(basis, symbol))
        except (gto.basis.BasisNotFoundError, KeyError):
            return False


def _has_core_potential(basis: str, symbol: str) -> bool:
    from pyscf import gto

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(gto.basis.load_ecp(basis, symbol))
        # What a Pople basis in brackets gets, which has no core potential.
        except RuntimeError:
            return False
