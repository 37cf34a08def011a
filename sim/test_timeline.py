"""Timing views: event taps, what is made of their events, and the trace."""

import json
from collections import defaultdict
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from amaranth.hdl import Module, Signal

from hdl.generate import configuration
from hdl.taps import MOST_BITS, collecting, tap
from sim import timeline, timeline_plot
from sim.compiled import environment_library
from sim.rtl import verilog_of
from sim.simulators import SimulatorError, icarus_path
from sim.timeline_frames import Leaving
from sim.timeline_packets import Packet, decode, runs_of
from sim.timeline_plot import plot_stages, plot_window
from sim.timeline_trace import durations, phases, trace_events, write_trace
from testbench.system.bench_determinism import FRAMES, RECORD
from testbench.system.catalogue import run_case

PERIOD_NS = 4.0
HEADERS, SEGMENT = 14 + 40 + 20, 1448       # of `tcp6_stream`


def _record(folder, module="bench_determinism", name="cycles_of_a_run", **extra):
    try:
        icarus_path()
    except SimulatorError as error:
        pytest.skip(f"no simulator that builds quickly: {error}")
    folder.mkdir(exist_ok=True)
    path = folder / "events.npz"
    outcome = run_case(f"testbench.system.{module}", name, preset="tiny", simulator="icarus", seed=7, directory=folder,
                       extra={"taps": str(path), **extra})
    assert outcome.ok, f"{outcome.summary()} (log: {outcome.log})"
    with np.load(path) as content:
        return content["events"], json.loads(str(content["taps"]))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    return *_record(folder), json.loads((folder / RECORD).read_text())


@pytest.fixture(scope="module")
def run(recorded):
    events, taps, _ = recorded
    return runs_of(events, taps)


def test_the_compiled_recorder_notes_the_same(recorded, tmp_path):
    events, _ = _record(tmp_path / "compiled", compiled=str(environment_library("icarus")))
    assert len(events) > 500 and np.array_equal(events, recorded[0])


def test_synthesis_has_no_taps():
    assert "tap" not in verilog_of(configuration("tiny"), simulation=False).read_text()


def test_each_packet_goes_through_its_stages(run, recorded):
    _, _, record = recorded
    sent = [packet for packet in run.packets if packet.direction == "tx"]
    received = [packet for packet in run.packets if packet.direction == "rx"]
    assert len(sent) == len(received) == FRAMES
    assert [[p.wire, p.sent, p.bytes] for p in sent] == record["sent"]
    assert [p.bytes for p in received] == [length for _, length in record["received"]]
    for packet in sent:
        # The read before the one that brought a descriptor may have been asked for before the doorbell.
        assert packet.fetched < packet.descriptors < packet.read < packet.data < packet.wire <= packet.sent
        assert packet.data < packet.used and packet.doorbell is not None
    for packet, (seen, _) in zip(received, record["received"]):
        assert packet.wire <= packet.sent < packet.verdict < packet.written < packet.used < seen
        assert packet.descriptors < packet.verdict
    assert [p.head for p in sent] == [(n % 16, 1 - n // 16 % 2) for n in range(FRAMES)]
    for packet in run.packets:
        assert packet.event is None or packet.used < packet.event < packet.event_there
        assert packet.message is None or packet.event_there < packet.message
    assert sum(packet.message is not None for packet in run.packets) > FRAMES // 2
    assert {key[1] for key in durations(run)} >= {"descriptor fetch", "data read", "wire", "used", "interrupt"}


def test_a_packet_that_is_cut_has_all_of_its_frames(tmp_path):
    """The first of them is on the wire before all of its data is there."""
    events, taps = _record(tmp_path, "bench_offload", "tcp6_stream")
    run = runs_of(events, taps)
    sent = [packet for packet in run.packets if packet.direction == "tx"]
    complete = [event.fields for event in decode(events, taps) if event.name == "tx.complete"]
    assert [sum(fields[name] for fields in complete) for name in ("first", "last")] == [len(sent)] * 2
    cut = [packet for packet in sent if packet.frames]
    assert len(cut) > 2 and not any(packet.dropped for packet in sent)
    assert all(packet.frames == -(-(packet.bytes - HEADERS) // SEGMENT) for packet in cut)
    assert any(packet.wire < packet.data for packet in cut)
    assert all(first.sent < second.wire for first, second in zip(sent, sent[1:]))
    names = [name for track, name, *_ in run.spans if track == "tx wire"]
    assert len(names) == len(set(names)) == sum(packet.frames or 1 for packet in sent)


def test_frames_find_their_packets():
    """Cut, refused, given up half-way, of two queues at once, and still under way at the end."""
    leaving = Leaving()
    packets = [Packet("tx", queue, number, dropped=number == 3) for number, queue in enumerate((0, 1, 0, 0, 0, 1, 0))]
    for queue, first, last in ((0, 1, 0), (1, 1, 1), (0, 0, 0), (0, 0, 1)):
        leaving.complete(queue, first, last)
    leaving.refused(0)
    for queue, first, last in ((0, 1, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)):
        leaving.complete(queue, first, last)
    for cycle in range(0, 14, 2):
        leaving.wire(cycle, 1, 0)
        leaving.wire(cycle + 1, 0, 1)
    leaving.wire(99, 1, 1)      # the eighth, which belongs to nothing that is whole
    leaving.wire(100, 1, 1)     # more than are complete
    found = {packet.number: [(frame.begin, frame.end) for frame in frames]
             for packet, frames in leaving.by_packet(packets)}
    assert found == {0: [(0, 1), (4, 5), (6, 7)], 1: [(2, 3)], 2: [], 4: [(10, 11), (12, 13)]}


def test_counters_return_to_nothing(run):
    for name in ("reads in flight", "tx packets being read"):
        values = [value for _, value in run.steps[name]]
        assert min(values) >= 0 and values[-1] == 0 < max(values), name


def test_phases_have_no_gaps(run):
    for packet in run.packets:
        parts = phases(packet)
        assert all(first[2] == second[1] for first, second in zip(parts, parts[1:])) and len(parts) > 3


def test_trace_obeys_its_schema(run, tmp_path):
    path = tmp_path / "trace.json"
    write_trace(path, run, PERIOD_NS, {"run": "test"})
    trace = json.loads(path.read_text())
    schema = json.loads((Path(timeline.__file__).parent / "timeline_schema.json").read_text())
    jsonschema.validate(trace, schema)
    trace["traceEvents"][-1]["ph"] = "Z"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(trace, schema)


def test_slices_nest_and_arrows_meet_them(run):
    events = trace_events(run, PERIOD_NS)
    tracks, flows = defaultdict(list), defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        elif event["ph"] in "stf":
            flows[event["id"]].append(event)
    for slices in tracks.values():
        open_until = []
        for begin, end in sorted(slices, key=lambda span: (span[0], -span[1])):
            while open_until and open_until[-1] <= begin + 1e-9:
                open_until.pop()
            assert not open_until or end <= open_until[-1] + 1e-9
            open_until.append(end)
    assert len(flows) == 2 * FRAMES
    for steps in flows.values():
        assert [step["ph"] for step in steps] == ["s", *"t" * (len(steps) - 2), "f"]
        for step in steps:
            assert any(begin <= step["ts"] < end for begin, end in tracks[step["pid"], step["tid"]])


def test_pictures_are_drawn(run, tmp_path, monkeypatch):
    monkeypatch.setattr(timeline_plot, "MOST_ROWS", 20)
    assert plot_window(run, 0, 1 << 20, tmp_path / "window.png", PERIOD_NS, "all") == 2 * FRAMES - 20
    plot_stages(run, tmp_path / "stages.png", PERIOD_NS, "all")
    for name in ("window.png", "stages.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments, word", [
    (["--test", "nosuch"], "unknown test 'nosuch'"), (["--pcap", "nosuch.pcap"], "nosuch.pcap"),
    (["--test", "receive", "--window", "9"], "BEGIN:END"), (["--test", "receive", "--window", "9:3"], "before it ends"),
    (["--test", "receive", "--config", "huge"], "huge"), (["--test", "receive", "--simulator", "vcs"], "vcs")])
def test_refusals(capsys, arguments, word):
    assert timeline.main(arguments) == 2
    told = capsys.readouterr().err
    assert word in told and told.count("\n") == 1


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_declarations():
    m, signal = Module(), Signal(MOST_BITS + 1)
    tap(m, "one", signal[0])        # nobody collects
    with collecting() as taps:
        tap(m, "one", signal[0], low=signal[:3])
        with pytest.raises(ValueError, match="'one' already"):
            tap(m, "one", signal[0])
        with pytest.raises(ValueError, match=f"{MOST_BITS + 1} bits"):
            tap(m, "two", signal[0], all=signal)
        with pytest.raises(RuntimeError):
            with collecting():
                pass
    assert [found.describe() for found in taps] == [{"name": "one", "fields": [["low", 0, 3]]}]
