"""Core hours of a run: counted in its folder, and a budget that stops it where it can go on."""

import pytest

from sparring import cli
from sparring.commands import running
from sparring.commands.running import run
from sparring.commands.status import core_hours_line
from sparring.labels import BudgetUsedUp


def test_a_run_whose_budget_is_used_up_goes_on_with_a_larger_one_to_the_same_end(
    molecules_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(running, "report", lambda folder: None)
    file = molecules_file({})
    small, large = tmp_path / "small.yaml", tmp_path / "large.yaml"
    small.write_text("budget: 1e-7 core hours\n")
    large.write_text("budget: 1 core hour\n")
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    with pytest.raises(BudgetUsedUp, match=r"core_hours.json\), and the budget is 1e-07\. Finished labels are kept\."):
        run(file, broken, resources=small)
    # Nothing is computed while the budget is used up, and the command line has its own exit code.
    n_labels = len(list((broken / "labels").glob("*.json")))
    monkeypatch.setattr("sys.argv", ["sparring", "run", str(file), "--folder", str(broken), "--resources", str(small)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 4
    assert "Raise `budget` in the resources file, then run the same command again" in capsys.readouterr().err
    assert len(list((broken / "labels").glob("*.json"))) == n_labels
    run(file, broken, resources=large)
    run(file, unbroken)
    for folder in (broken, unbroken):
        assert "core hours used for" in core_hours_line(folder)
    assert len(list((broken / "labels").glob("*.json"))) == len(list((unbroken / "labels").glob("*.json")))
    last = sorted(unbroken.glob("generation-*"))[-1].name
    for name in ("dataset.extxyz", "committee.safetensors"):
        assert (broken / last / name).read_bytes() == (unbroken / last / name).read_bytes()
