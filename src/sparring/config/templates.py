"""The commented examples that `sparring init` writes: the very files of the repository's folder `examples`."""

from pathlib import Path

from sparring.config.problems import ConfigError, nearest
from sparring.systems.sections import SECTIONS

EXAMPLES = {
    **{kind: section.example for kind, section in SECTIONS.items() if section.example},
    "foundation_model": ("foundation_model.yaml", "magnesium_oxide.xyz"),
    "guest_in_host": ("guest_in_host.yaml", "guest_in_host.xyz", "guest_in_host_turn.xyz"),
    "mace": ("mace.yaml", "own_molecule.xyz"),
    "offline": ("offline.yaml", "own_molecule.xyz"),
    "copper": ("copper.yaml", "copper.xyz", "copper_bulk.xyz"),
    "silicon": ("silicon.yaml", "silicon.xyz"),
}
"""Files of the example for each kind of system, and of further examples, by name."""


def template(kind: str) -> str:
    """The commented configuration for a kind of system.

    Raises:
        ConfigError: If there is no such kind.
    """
    return next(iter(template_files(kind).values()))


def template_files(kind: str) -> dict[str, str]:
    """The text of the example for a kind of system by file name: the configuration first, then what it reads.

    Raises:
        ConfigError: If there is no such kind.
    """
    if kind not in EXAMPLES:
        raise ConfigError([f"{kind!r} is no kind of system and no example; {nearest(kind, EXAMPLES)}"])
    folder = _folder()
    return {name: (folder / name).read_text(encoding="utf-8") for name in EXAMPLES[kind]}


def _folder() -> Path:
    # A wheel carries the examples inside; a checkout, also when it is installed as editable, has them beside src.
    package = Path(__file__).parents[1]
    inside = package / "examples"
    return inside if inside.is_dir() else package.parents[1] / "examples"
