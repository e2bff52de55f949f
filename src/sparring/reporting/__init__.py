"""The report of a run: one self-contained page, and its figures."""

from sparring.reporting.overview import overview
from sparring.reporting.page import report

__all__ = ["overview", "report"]
