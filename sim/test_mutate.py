"""The mutation helper: its table fits the sources, and bad use is refused."""

import pytest

from sim import mutate
from sim.requirements import Ledger
from sim.simulators import ROOT


@pytest.mark.parametrize("identifier, change", mutate.load().items(), ids=str)
def test_table_fits_the_sources(identifier, change):
    """Every mutation is of a requirement that there is, and changes its file."""
    assert identifier in Ledger().rows
    text = (ROOT / change["file"]).read_text()
    assert mutate.mutate(text, change) != text


def test_text_that_is_not_there_once_is_refused():
    with pytest.raises(mutate.MutationError, match="occurs 2 times"):
        mutate.mutate("a a", {"file": "f.py", "find": "a", "replace": "b"})


def test_unknown_requirement(capsys):
    assert mutate.main(["PKD-999"]) == 2
    assert capsys.readouterr().err == "mutate: no mutation is written for PKD-999\n"
