"""What people look at after a run: one self-contained page, and its figures."""

from sparring.reporting.page import report
from sparring.reporting.sheets import overview

__all__ = ["overview", "report"]
