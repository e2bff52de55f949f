"""``sparring validate vacancy``."""

from sparring.validation.arguments import CommitteeFolder, Device, Output
from sparring.validation.bulk_arguments import CrystalLabels, Crystals, Length

__all__ = ["vacancy"]


def vacancy(
    committee: CommitteeFolder,
    crystals: Crystals = None,
    length: Length = "10 Å",
    labels: CrystalLabels = 100,
    output: Output = None,
    device: Device = "cpu",
) -> None:
    """Formation energies of vacancies in crystals of one element, with relaxed atoms, beside those of the labels.

    The same command resumes an interrupted one: labels are kept in the store of the run.
    """
    from sparring.units import quantity
    from sparring.validation.bulk_results import answered
    from sparring.validation.vacancy.compute import vacancies_of
    from sparring.validation.vacancy.figure import vacancy_figure
    from sparring.validation.vacancy.table import vacancy_table

    answered(
        committee,
        "vacancy",
        vacancies_of,
        vacancy_table,
        vacancy_figure,
        file=crystals,
        labels=labels,
        output=output,
        device=device,
        length=quantity(length, "length"),
    )
