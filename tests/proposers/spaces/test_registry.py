from importlib.metadata import EntryPoint, EntryPoints

import pytest

from sparring.proposers.spaces import Cartesian, plugin
from sparring.proposers.spaces.registry import PLUGIN_GROUP
from sparring.support import plugins


@pytest.fixture
def registered(monkeypatch):
    """Entry points as installed packages would register them."""
    values = {"own": "sparring.proposers.spaces:Cartesian", "broken": "builtins:dict"}
    points = EntryPoints([EntryPoint(name, value, PLUGIN_GROUP) for name, value in values.items()])
    monkeypatch.setattr(plugins, "entry_points", lambda group: points.select(group=group))


def test_a_plugin_makes_a_space_from_its_parameters(registered):
    assert plugin("own", {"spread": 0.3, "axes": "z"}) == Cartesian(spread=0.3, axes="z")


def test_an_unknown_plugin_is_named_with_its_nearest(registered):
    with pytest.raises(ValueError, match=r"unknown space 'owm', did you mean 'own'\?; registered: broken, own"):
        plugin("owm")


def test_what_is_no_space_is_an_error(registered):
    with pytest.raises(
        ValueError, match=r"plugin 'broken' returns no space \(owner, initial, displace, project\) but {}"
    ):
        plugin("broken")
