"""make run: what it refuses, and one capture through the smallest card."""

import json
import random
import struct

import pytest

from model.link import Link, Mix, Traffic, link_bound
from sim import replay, simulators
from sim.capture import CapturedFrame, read_capture, write_capture

FIVE = [CapturedFrame(bytes([n]) * (60 + n), 1_700_000_000_000_000_000 + 1000 * n) for n in range(5)]


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "five.pcap"
    write_capture(path, FIVE)
    return path


def refused(capsys, arguments, *words):
    """`arguments` end with exit status 2 and one line on standard error that holds all of `words`."""
    assert replay.main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("run: ") and err.count("\n") == 1, err
    for word in words:
        assert str(word) in err
    assert out == ""


def test_no_such_capture(capsys, tmp_path):
    refused(capsys, [tmp_path / "absent.pcap"], tmp_path / "absent.pcap", "No such file")


def test_not_a_capture(capsys, tmp_path):
    path = tmp_path / "text.pcap"
    path.write_text("no capture at all")
    refused(capsys, [path], path, "neither pcap nor pcapng")


def test_empty_capture(capsys, tmp_path):
    path = tmp_path / "empty.pcap"
    path.write_bytes(struct.pack("<IHHiIII", 0xa1b23c4d, 2, 4, 0, 0, 65535, 1))
    refused(capsys, [path], path, "no frame")


def test_frame_longer_than_the_build_takes(capsys, tmp_path):
    path = tmp_path / "long.pcap"
    write_capture(path, [*FIVE, CapturedFrame(bytes(2015), 0)])
    refused(capsys, [path, "--config", "tiny"], path, "frame 6", "2015")


@pytest.mark.parametrize("arguments, words", [
    (["--config", "huge"], ["'huge'", "tiny", "default"]),
    (["--set", "width=64"], ["width", "64"]),
    (["--set", "colour=1"], ["colour=1"]),
    (["--link", "gen2x1"], ["link", "'gen2x1'", "gen3x8"]),
    (["--profile", "mars"], ["profile", "'mars'", "e5-warm"]),
    (["--simulator", "vcs"], ["'vcs'", "verilator", "icarus"]),
])
def test_unknown_circumstances(capsys, capture, arguments, words):
    refused(capsys, [capture, *arguments], *words)


def test_no_compiler(capsys, capture, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    which = simulators.shutil.which
    monkeypatch.setattr(simulators.shutil, "which", lambda name: None if name in ("g++", "clang++") else which(name))
    refused(capsys, [capture], "g++")


def test_nothing_is_written_when_refused(capsys, capture, monkeypatch, tmp_path):
    monkeypatch.setattr(replay, "RUNS", tmp_path / "build")
    refused(capsys, [capture, "--simulator", "vcs"], "vcs")
    assert not (tmp_path / "build").exists()


def test_bound_is_the_mean_over_the_frames():
    alone = {length: Traffic("both", length).bytes() for length in (60, 1514)}
    up, down = Mix("both", {60: 3, 1514: 1}).bytes()
    assert up == pytest.approx((3 * alone[60][0] + alone[1514][0]) / 4)
    assert down == pytest.approx((3 * alone[60][1] + alone[1514][1]) / 4)
    assert link_bound(Link("gen3x8"), Mix("both", {60: 7})) == pytest.approx(
        link_bound(Link("gen3x8"), Traffic("both", 60)))


@pytest.mark.parametrize("pace", [False, True], ids=["at full speed", "paced"])
def test_replay(tmp_path, capsys, monkeypatch, pace):
    """Fifty frames of all lengths out, around and back in; the result adds up, and what comes out is a capture."""
    rng = random.Random(5)
    frames = [CapturedFrame(rng.randbytes(length), 10**18 + 2000 * n) for n, length in enumerate(
        [14, 15, 60, 61, 64, 2014, *(rng.randint(14, 1514) for _ in range(44))])]
    path = tmp_path / "fifty.pcap"
    write_capture(path, frames)
    monkeypatch.setattr(replay, "RUNS", tmp_path)
    assert replay.main([str(path), "--config", "tiny", *(["--pace"] if pace else [])]) == 0, capsys.readouterr().err
    came_back = read_capture(tmp_path / "fifty-received.pcap", mtu=2000)
    assert [frame.data for frame in came_back] == [frame.data for frame in frames]
    assert all(a.time_ns < b.time_ns + 1 for a, b in zip(came_back, came_back[1:]))
    result = json.loads((tmp_path / "result.json").read_text())
    pcie = result["pcie"]
    assert pcie["up"]["write rx"]["payload"] >= sum(len(frame.data) + 12 for frame in frames)
    assert pcie["down"]["completion tx"]["payload"] >= sum(len(frame.data) + 12 for frame in frames)
    # Two round trips of 520 ns at least lie between a doorbell and the wire.
    assert result["latencies_ns"] and min(result["latencies_ns"]) > 1040
    if pace:
        assert all(back.time_ns > sent.time_ns + 1040 for back, sent in zip(came_back, frames))
        assert came_back[-1].time_ns < frames[-1].time_ns + 20_000
    text = capsys.readouterr().out
    for words in ("50", "Mpps", "ratio to the bound", "doorbell to wire", str(tmp_path / "fifty-received.pcap")):
        assert words in text


def test_lost_frame_is_a_failure(tmp_path, capsys, monkeypatch):
    """A card whose mtu is smaller than a frame drops it: exit status 1, and the frame is named."""
    monkeypatch.setattr(replay, "RUNS", tmp_path)
    monkeypatch.setattr(replay, "_mtu", lambda config: 1000)
    path = tmp_path / "two.pcap"
    write_capture(path, [CapturedFrame(bytes(60), 0), CapturedFrame(bytes(1500), 0)])
    assert replay.main([str(path), "--config", "tiny"]) == 1
    assert not (tmp_path / "two-received.pcap").exists()
    error = capsys.readouterr().err
    assert "FAILED" in error and error.count("\n") == 1
