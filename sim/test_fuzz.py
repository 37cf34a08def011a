"""make fuzz: a short one, what it refuses, and that a disagreement is noticed."""

import pytest

from sim import fuzz


@pytest.mark.requirements("NET-049", "NET-086", "BAS-005")
def test_a_short_fuzz(tmp_path):
    """Each thing that can become of a frame or a packet does."""
    told = []
    result = fuzz.fuzz(200, directory=tmp_path, progress=told.append)
    assert result["receive"] == result["transmit"] == 200
    for name in ("receive.frames", "receive.drop.bad", "receive.drop.filtered", "receive.drop.oversize",
                 "transmit.frames", "transmit.drop.malformed", "resets needed"):
        assert result[name] > 0, name
    assert told == sorted(told) and told[-1] <= 400


@pytest.mark.parametrize("part, item", [("receive", "frame"), ("transmit", "packet")])
def test_something_else_expected_of_one_is_noticed(monkeypatch, tmp_path, capsys, part, item):
    """The message says which one it was, what it is, what was expected and what was seen; the exit status is 1."""
    right = fuzz.fuzz
    monkeypatch.setattr(fuzz, "fuzz", lambda count, **options: right(count, flip={part: 3}, directory=tmp_path,
                                                                     **options))
    assert fuzz.main(["--count", "8", "--seed", "5", "--round", "0"]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith("fuzz: FAILED with seed 5, N=8, round 0") and complaint.count("\n") == 1
    assert f": {item} 3 " in complaint and ": expected " in complaint and ", seen " in complaint
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("arguments, word", [
    (["--count", "0"], "not 0"), (["--count", "-5"], "not -5"), (["--seed", "-1"], "not -1"),
    (["--count", "3000", "--round", "3"], "no round 3"), (["--round", "-1"], "no round -1")])
def test_refusals(capsys, arguments, word):
    assert fuzz.main(arguments) == 2
    _, complaint = capsys.readouterr()
    assert complaint.startswith("fuzz: ") and complaint.count("\n") == 1 and word in complaint


@pytest.mark.parametrize("arguments", [["--count", "many"], ["--seed", ""], ["--round", "first"]])
def test_what_is_no_number(capsys, arguments):
    with pytest.raises(SystemExit) as left:
        fuzz.main(arguments)
    assert left.value.code == 2


def test_rounds():
    assert [fuzz.rounds_of(count) for count in (1, 1000, 1001, 20_000)] == [1, 1, 2, 20]
