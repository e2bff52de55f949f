"""Neural-network potentials made robust by adversarial attacks on their own uncertainty.

Everything public is imported from here, and only when it is first used: ``import sparring`` loads nothing heavy. The
names and their modules stand in ``__init__.pyi``, where editors and type checkers look for them, too.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, _, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *_names]


def __dir__() -> list[str]:
    """Names that can be imported."""
    return __all__
