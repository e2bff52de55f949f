"""Words by which outputs of programs tell that their calculation has not converged."""

import re

from sparring.inputs.outputs import require_converged

__all__ = ["has_converged"]

_NOT_CONVERGED = {
    "orca-output": r"SCF NOT CONVERGED|SCF CONVERGENCE FAILURE|SCF has not converged|SCF not fully converged",
    "gaussian-out": r"Convergence failure|SCF has not converged|Convergence criterion not met",
    "espresso-out": r"convergence NOT achieved",
    "aims-output": r"Self-consistency cycle not converged|SELF-CONSISTENCY CYCLE DID NOT CONVERGE",
    "cp2k": r"SCF run NOT converged",
    "nwchem-out": r"Calculation failed to converge|calculation did not converge",
    "castep-castep": r"SCF cycles performed but system has not reached the groundstate",
    "gpaw-out": r"Did not converge!",
}


def has_converged(text: str, kind: str) -> bool:
    """False if an output says that its self-consistent cycle has not converged.

    VASP does not say so in words: OUTCAR counts steps that ended because of EDIFF, and vasprun.xml the cycles of each.

    Args:
        text: Content of the output.
        kind: Format of the output, by ASE's name.
    """
    if kind == "vasp-out":
        return text.count("aborting loop because EDIFF is reached") >= text.count("TOTAL-FORCE (eV/Angst)")
    if kind == "vasp-xml":
        most = re.search(r'<i[^>]*name="NELM"[^>]*>\s*(\d+)', text)
        cycles = [step.count("<scstep>") for step in text.split("<calculation>")[1:]]
        return most is None or all(n < int(most[1]) for n in cycles)
    try:
        require_converged(text, kind)
    except ValueError:
        return False
    pattern = _NOT_CONVERGED.get(kind)
    return pattern is None or re.search(pattern, text, re.IGNORECASE) is None
