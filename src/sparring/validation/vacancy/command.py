"""``sparring validate vacancy``."""

from sparring.validation.arguments import CommitteeFolder, Device, Output, ResourcesFile
from sparring.validation.crystals.arguments import CrystalLabels, Crystals, Length

__all__ = ["vacancy"]


def vacancy(
    committee: CommitteeFolder,
    crystals: Crystals = None,
    length: Length = "10 Å",
    labels: CrystalLabels = 100,
    output: Output = None,
    device: Device = "cpu",
    resources: ResourcesFile = None,
) -> None:
    """Formation energies of vacancies in crystals of one element, with relaxed atoms, beside those of the labels.

    The same command resumes an interrupted one: labels are kept in the store of the run.
    """
    from sparring.units import quantity
    from sparring.validation.crystals.results import answered
    from sparring.validation.vacancy import compute
    from sparring.validation.vacancy.figure import figure
    from sparring.validation.vacancy.section import table

    answered(
        committee,
        "vacancy",
        compute.vacancy,
        table,
        figure,
        file=crystals,
        n_labels=labels,
        output=output,
        device=device,
        length=quantity(length, "length"),
    )
