"""What people look at after a run: one self-contained page, and its figures."""

from sparring.report.page import report
from sparring.report.sheets import overview

__all__ = ["overview", "report"]
