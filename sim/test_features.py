"""README.md's table of features."""

import pytest

from sim import features


def test_the_readme_is_up_to_date(capsys):
    assert features.main(["--check"]) == 0, capsys.readouterr().err


def test_each_offered_feature_is_described(tmp_path):
    notes = tmp_path / "features.toml"
    text = features.NOTES.read_text()
    notes.write_text(text.replace("CTRL_VLAN =", "CTRL_VLANS ="))
    with pytest.raises(ValueError, match="CTRL_VLAN, CTRL_VLANS$"):
        features.table(notes)


def test_a_table_out_of_date_is_found_and_made_anew(capsys, monkeypatch, tmp_path):
    readme = tmp_path / "README.md"
    text = features.README.read_text()
    readme.write_text(text.replace("| 19 | CTRL_VLAN |", "| 20 | CTRL_VLAN |"))
    monkeypatch.setattr(features, "README", readme)
    assert features.main(["--check"]) == 1 and "make features" in capsys.readouterr().err
    assert features.main([]) == 0 and readme.read_text() == text
    readme.write_text("# Nothing\n")
    assert features.main([]) == 2 and capsys.readouterr().err.count("\n") == 1
