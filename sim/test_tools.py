"""What the commands say when a program or a name is missing."""

import pytest

from sim import regress, simulators, synth, tools


@pytest.fixture
def empty_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


def test_missing_programs_are_named_with_their_cure(empty_path):
    assert tools.missing("icarus") == "iverilog is not installed: apt-get install iverilog"
    with pytest.raises(simulators.SimulatorError, match="no Icarus Verilog 11 .*apt-get install iverilog"):
        simulators.icarus_path()


def test_what_cannot_be_installed_is_told(empty_path, monkeypatch, capsys):
    monkeypatch.setattr(tools.sys, "argv", ["tools", "icarus"])
    assert tools.main() == 0
    assert capsys.readouterr().out == ("tools: tests that need icarus will be skipped: "
                                       "iverilog is not installed: apt-get install iverilog\n")


def test_unknown_program(monkeypatch, capsys):
    monkeypatch.setattr(tools.sys, "argv", ["tools", "modelsim"])
    assert tools.main() == 2
    assert capsys.readouterr().err == "tools: unknown program 'modelsim'\n"


def test_regression_without_its_simulator(empty_path, capsys):
    assert regress.main(["--simulator", "icarus"]) == 2
    assert capsys.readouterr().err.startswith("regress: no Icarus Verilog 11 or newer on PATH")


def test_regression_on_an_unknown_simulator(capsys):
    assert regress.main(["--simulator", "questa"]) == 2
    assert capsys.readouterr().err == "regress: unknown simulator 'questa'; there are: verilator, icarus\n"


@pytest.mark.parametrize("arguments, message", [
    (["--config", "huge"], "synth: unknown configuration 'huge'; there are: tiny, default, full"),
    (["--config", "tiny", "--set", "width=100"], "synth: width must be 128, 256 or 512, not 100"),
])
def test_synthesis_of_an_impossible_configuration(capsys, arguments, message):
    assert synth.main(arguments) == 2
    assert capsys.readouterr().err == message + "\n"
