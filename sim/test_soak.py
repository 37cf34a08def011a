"""make soak: a short one, and what it refuses."""

import pytest

from hdl.generate import configuration
from sim import soak


@pytest.mark.requirements("PKD-039", "NET-185")
def test_a_short_soak(tmp_path):
    """Nobody but the card wakes the driver, and nothing is lost."""
    told = []
    result = soak.soak(configuration("default", []), 4000, directory=tmp_path, progress=told.append)
    assert result["delivered"] >= 4000 and len(result["rounds"]) == 8
    counts = result["statistics"]
    assert counts["waits"] > 100 and counts["naps"] > 100 and counts["interrupts"] > 100
    assert counts["doorbells"] > 100 and counts["doorbells_saved"] > 0 and counts["commands"] > 16
    assert told == sorted(told) and told[-1] <= result["delivered"]


@pytest.mark.parametrize("arguments, word", [(["--config", "huge"], "'huge'"), (["--packets", "0"], "not 0")])
def test_refusals(capsys, arguments, word):
    assert soak.main(arguments) == 2
    _, complaint = capsys.readouterr()
    assert complaint.startswith("soak: ") and complaint.count("\n") == 1 and word in complaint
