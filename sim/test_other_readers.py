"""Captures that we write, read by software that we did not write."""

import subprocess

import pytest
from scapy.utils import rdpcap

from sim.capture import read_capture, write_capture
from sim.simulators import ROOT
from sim.tools import missing

SAMPLE = ROOT / "sim" / "captures" / "sample.pcap"


def _tshark(path, *arguments):
    """Lines that tshark prints of a capture."""
    out = subprocess.run(["tshark", "-r", path, *arguments], capture_output=True, text=True, check=True)
    return out.stdout.splitlines()


def test_tshark_finds_nothing_malformed(tmp_path):
    if reason := missing("tshark"):
        pytest.skip(f"not read by tshark: {reason}")
    frames = read_capture(SAMPLE)
    written = tmp_path / "out.pcap"
    write_capture(written, frames)
    lengths = _tshark(written, "-T", "fields", "-e", "frame.len")
    assert [int(length) for length in lengths] == [len(frame.data) for frame in frames]
    checks = [f"-o{protocol}.check_checksum:TRUE" for protocol in ("ip", "tcp", "udp")]
    bad = "_ws.malformed or ip.checksum.status == 0 or tcp.checksum.status == 0 or udp.checksum.status == 0"
    assert _tshark(written, *checks, "-Y", bad) == []


@pytest.mark.filterwarnings("ignore")
def test_scapy_reads_the_same_frames(tmp_path):
    frames = read_capture(SAMPLE)[:300]
    written = tmp_path / "out.pcap"
    write_capture(written, frames)
    assert [bytes(packet) for packet in rdpcap(str(written))] == [frame.data for frame in frames]
