"""The ledger's tool: ranges and patterns, unknown ids, gaps."""

import pytest

from sim import requirements
from sim.requirements import Ledger

LEDGER = """id,level,area,clause,summary
AAA-001,MUST,a,c,one
AAA-002,SHOULD,a,c,two
AAA-003,MAY,a,c,three
AAA-004,MUST NOT,a,c,four
BBB-001,MUST,b,c,five
BBB-002,MUST,b,c,six
"""


@pytest.fixture
def ledger(tmp_path):
    def make(scope):
        (tmp_path / "ledger.csv").write_text(LEDGER)
        (tmp_path / "scope.toml").write_text(f"[out_of_scope]\n{scope}\n")
        return Ledger(tmp_path / "ledger.csv", tmp_path / "scope.toml")
    return make


@pytest.mark.parametrize("pattern, ids", [
    ("AAA-002", ["AAA-002"]), ("AAA-002..AAA-004", ["AAA-002", "AAA-003", "AAA-004"]),
    ("BBB-*", ["BBB-001", "BBB-002"]),
])
def test_patterns(ledger, pattern, ids):
    assert list(ledger(f'"reason" = ["{pattern}"]').excluded) == ids


@pytest.mark.parametrize("pattern", ["AAA-009", "CCC-*", "AAA-007..AAA-009"])
def test_a_pattern_that_names_nothing_is_refused(ledger, pattern):
    with pytest.raises(ValueError, match="names no requirement"):
        ledger(f'"reason" = ["{pattern}"]')


def test_states(ledger):
    status = ledger('"not built" = ["BBB-*"]').status({"AAA-001": {"t1", "t0"}, "BBB-001": {"t2"}})
    assert status == {
        "AAA-001": ("tested", ["t0", "t1"]), "AAA-002": ("gap", []), "AAA-003": ("optional", []),
        "AAA-004": ("gap", []), "BBB-001": ("tested", ["t2"]), "BBB-002": ("not offered", ["not built"]),
    }


def test_a_test_that_names_an_unknown_id_is_refused(ledger):
    with pytest.raises(ValueError, match="the ledger does not have: ZZZ-001"):
        ledger("").status({"ZZZ-001": {"t"}})


@pytest.mark.parametrize("marked, code", [
    (["AAA-001", "AAA-004"], 0),     # a SHOULD without a test is told, but fails nothing
    (["AAA-001"], 1), (["AAA-004"], 1), ([], 1),
])
def test_a_gap_in_a_must_fails(ledger, monkeypatch, capsys, marked, code):
    made = ledger('"not built" = ["BBB-*"]')
    monkeypatch.setattr(requirements, "Ledger", lambda: made)
    monkeypatch.setattr(requirements, "collect_marks", lambda: {identifier: {"t"} for identifier in marked})
    assert requirements.main([]) == code
    out = capsys.readouterr().out
    for identifier in ("AAA-001", "AAA-002", "AAA-004"):
        assert (f"gap: {identifier}" in out) == (identifier not in marked)


def test_an_unknown_id_asked_for(ledger, monkeypatch, capsys):
    made = ledger("")
    monkeypatch.setattr(requirements, "Ledger", lambda: made)
    monkeypatch.setattr(requirements, "collect_marks", dict)
    assert requirements.main(["--id", "ZZZ-001"]) == 2
    assert "the ledger has no 'ZZZ-001'" in capsys.readouterr().err
