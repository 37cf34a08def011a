"""The generated Verilog and its manifest, and what is said to bad parameters."""

import json
import re
import subprocess

import pytest

from hdl.generate import TOP, main
from hdl.shim.generic import PORTS
from sim import rtl
from sim.rtl import verilog_of
from sim.simulators import ROOT
from testbench.system.catalogue import configuration


@pytest.mark.parametrize("arguments, message", [
    (["--config", "huge"], "unknown configuration 'huge'; there are: tiny, default, full"),
    (["--set", "lanes=4"], "unknown parameter 'lanes=4'; there are: width, "),
    (["--set", "width"], "unknown parameter 'width'; there are: width, "),
    (["--set", "name=me"], "unknown parameter 'name=me'; there are: width, "),
    (["--set", "width=100"], "width must be 128, 256 or 512, not 100"),
    (["--set", "pairs=many"], "parameter pairs must be an integer, not 'many'"),
    (["--set", "segments=2"], "segments must be 1, not 2: shared beats are not built yet"),
    (["--config", "tiny", "--set", "tx_buffer=4096"], "tx_buffer of 4096 bytes does not hold the largest frame and a "
     "transaction of 2048 bytes besides"),
])
def test_bad_parameters_are_one_line_and_nothing_written(tmp_path, capsys, arguments, message):
    out = tmp_path / "rtl"
    assert main([*arguments, "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"generate: {message}") and said.err.count("\n") == 1
    assert not out.exists()


@pytest.fixture(scope="module")
def tiny():
    """(Verilog, manifest) of what goes into an FPGA flow."""
    path = verilog_of(configuration("tiny"), simulation=False)
    return path.read_text(), json.loads(path.with_suffix(".json").read_text())


def ports_of(verilog):
    """[(name, direction, width)] of the top module as its text declares them."""
    body = re.search(rf"^module {TOP}\((.*?)\);(.*?)^endmodule", verilog, re.S | re.M)
    declared = {name: ({"input": "in", "output": "out"}[way], int(high or 0) + 1) for way, high, name in re.findall(
        r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", body[2], re.M)}
    assert sorted(declared) == sorted(name.strip() for name in body[1].split(","))
    return {name: {"direction": way, "width": width} for name, (way, width) in declared.items()}


def test_manifest_lists_the_ports_of_the_verilog(tiny):
    verilog, manifest = tiny
    assert manifest["top"] == TOP
    assert all(port["protocol"] for port in manifest["ports"])
    listed = {port["name"]: {"direction": port["direction"], "width": port["width"]} for port in manifest["ports"]}
    assert listed == ports_of(verilog)
    assert list(listed) == ["clk", "rst", *PORTS(configuration("tiny"))]
    assert listed["cq_header"] == {"direction": "in", "width": 128}
    assert listed["rq_keep"] == {"direction": "out", "width": 4}
    assert not any("__" in name for name in listed)


def test_bench_ports_are_in_the_simulation_shell_alone(tiny):
    verilog, _ = tiny
    assert not [name for name in ports_of(verilog) if name.startswith("sim_")]
    simulated = ports_of(verilog_of(configuration("tiny")).read_text())
    assert {name for name in simulated if name not in ports_of(verilog)} == {
        "sim_tags_outstanding", "sim_tags_quarantined", "sim_idle"}


def test_manifest_tells_what_users_ask(tiny):
    _, manifest = tiny
    assert manifest["CQ_NP_DEPTH"] == 32
    assert manifest["parameters"]["width"] == 128 and manifest["parameters"]["name"] == "tiny"
    assert [feature["bit"] for feature in manifest["features"]] == [
        0, 1, 2, 3, 5, 11, 12, 13, 15, 16, 17, 18, 19, 20, 21, 22, 23, 28, 29, 32, 33, 34, 35, 36, 38, 39, 40, 50, 52,
        53, 56, 57, 59, 60, 63]
    registers = manifest["registers"]
    assert set(registers) == {"common", "isr", "device"} and all(registers.values())
    regions = {region["name"]: region["offset"] for region in manifest["bar0"]["regions"]}
    assert (regions["common"], regions["isr"], regions["device"], regions["notify"]) == (0, 0x100, 0x200, 0x10000)
    assert (manifest["receive_fifo_bytes"], manifest["transmit_fifo_bytes"]) == (8192, 8192)


def test_manifest_tells_the_revision_of_its_sources(tiny):
    _, manifest = tiny
    out = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode != 0 or re.fullmatch(r"[0-9a-f]{12,}(-dirty)?", manifest["revision"])


SOURCE = '''class Block:
    """Text."""
    def elaborate(self):
        tap(m, "tx.sent", a)
        m.d.comb += b.eq(a)
'''


def test_the_digest_of_behaviour(monkeypatch, tmp_path):
    """What was measured stays known while only what is said of the RTL changes."""
    monkeypatch.setattr(rtl, "ROOT", tmp_path)
    path = tmp_path / "hdl" / "block.py"
    path.parent.mkdir()

    def digests(text):
        path.write_text(text)
        return rtl.behaviour_digest(), rtl.sources_digest()
    behaviour, sources = digests(SOURCE)
    for text in (SOURCE.replace("Text", "Other text"), SOURCE.replace('tap(m, "tx.sent", a)', ""), SOURCE + "# more\n"):
        same, other = digests(text)
        assert same == behaviour and other != sources
    assert digests(SOURCE.replace("eq(a)", "eq(~a)"))[0] != behaviour
    path.write_text(SOURCE)
    path.rename(path.with_name("renamed.py"))
    assert rtl.behaviour_digest() != behaviour
