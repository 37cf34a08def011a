"""make waves: the waveform holds what the save file names, and the save file is one that GTKWave reads."""

import re
import subprocess

import pytest

from hdl.config import NicConfig
from hdl.generate import TOP
from sim import gtkw, lz4, waves
from sim.simulators import SimulatorError, icarus_path


def names_of(text):
    """Signals that a save file names, without ranges."""
    found = set()
    for line in text.splitlines():
        if re.match(r"[A-Za-z_#]", line):
            parts = line.partition("} ")[2].split() if line.startswith("#{") else [line]
            found |= {re.sub(r"^\(\d+\)", "", re.sub(r"\[\d+:\d+\]$", "", part)) for part in parts}
    return found


def check(waveform, save):
    import pywellen
    wave = pywellen.Waveform(str(waveform))
    there = {re.sub(r"\s*\[\d+:\d+\]$", "", gtkw._call(var.full_name)).replace("\\", "") for var in wave.all_vars()}
    named = names_of(save.read_text())
    assert len(named) > 60
    assert named <= there
    return named


def record(name, capsys, monkeypatch, tmp_path, *arguments):
    monkeypatch.setattr(waves, "WAVES", tmp_path)
    status = waves.main([name, *arguments])
    out, err = capsys.readouterr()
    assert status == 0, err
    assert "not in the waveform" not in err, err
    waveform, = tmp_path.rglob("*.fst")
    save, = tmp_path.rglob("*.gtkw")
    assert str(waveform) in out and str(save) in out
    return waveform, save


def test_verilator(capsys, monkeypatch, tmp_path):
    waveform, save = record("transmit", capsys, monkeypatch, tmp_path)
    named = check(waveform, save)
    text = save.read_text()
    for title in ("doorbell", "descriptor fetch", "data read", "wire", "used write", "MSI-X"):
        assert text.count(f"\n-{title}\n") == 2     # a group's begin and end
    for name in ("cq_header", "rq_header", "rc_header", "eth_tx_tvalid", "nic.tx_engine.data_reads__valid"):
        assert any(path.endswith(f"{TOP}.{name}") for path in named), name
    # Every filter file that is named is there, and reads as "value name" lines.
    filters = set(re.findall(r"^\^1 (.+)$", text, re.M))
    assert filters
    for path in filters:
        lines = open(path).read().splitlines()
        assert lines and all(re.fullmatch(r"[0-9a-f]+ \S+", line) for line in lines)


def test_icarus(capsys, monkeypatch, tmp_path):
    try:
        icarus_path()
    except SimulatorError as error:
        pytest.skip(f"Icarus half not run: {error}")
    check(*record("transmit", capsys, monkeypatch, tmp_path, "--simulator", "icarus"))


@pytest.mark.parametrize("arguments, word", [
    (["no_such_test"], "'no_such_test'"), ([""], "TEST="), (["transmit", "--simulator", "vcs"], "'vcs'"),
    (["transmit", "--config", "huge"], "'huge'")])
def test_refusals(capsys, arguments, word):
    assert waves.main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith("waves: ") and err.count("\n") == 1 and word in err and out == ""


def test_no_lz4_to_be_had(monkeypatch, tmp_path):
    """Neither installed nor on PyPI: the message has the command to run."""
    def run(command, **options):
        assert "pip" in command
        return subprocess.CompletedProcess(command, 1, "", "no network")
    monkeypatch.setattr(lz4.subprocess, "run", run)
    with pytest.raises(lz4.Lz4Error, match="apt-get install liblz4-dev"):
        lz4.lz4_arguments(tmp_path, "g++", system=())


def test_installed_lz4_is_taken(tmp_path):
    (tmp_path / "lz4.h").touch()
    assert lz4.lz4_arguments(tmp_path / "own", "g++", system=(tmp_path,)) == []
    assert not (tmp_path / "own").exists()


def test_bits_are_counted_from_the_left():
    class Wave:
        def find(self, path):
            return f"top.{path}", 16
    lines = gtkw.Bits("kind", "header", 4, 2).lines(Wave(), None)
    assert lines == ["@22", "#{kind[1:0]} (10)top.header[15:0] (11)top.header[15:0]"]


def test_every_group_has_signals():
    for config in (NicConfig.preset("tiny"), NicConfig()):
        groups = waves.groups_of(config)
        assert all(groups.values())
        assert len(groups) >= 6
