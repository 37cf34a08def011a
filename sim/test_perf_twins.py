"""The performance model against the RTL, packet by packet; and what it says once more, because it needs neither the
RTL's packages nor the testbench's, is the same there."""

from hdl.config import PART_REQUESTS
from hdl.dma.read_window import ReadWindow
from hdl.net.receive import VERDICTS
from hdl.virtqueue.fetch_state import LEAST_LEVEL
from hdl.virtqueue.reader import Reader
from hdl.virtqueue.table_take import TableTake
from hdl.virtqueue.used import Used
from hdl.virtqueue.used_collect import RunCollector
from model.moments import BEGIN, RESET
from model.perf import simulate
from model.perf.cycle import fetch, run, state, supply, used, walk, window
from sim import perf_rtl
from sim.perf_cases import Setting
from sim.perf_model import scenario_of
from sim.perf_rtl import CYCLE_NS, Runner
from testbench.bfm.environment import RESET_CYCLES
from testbench.bfm.host_reads import LINE, moments_seed

WINDOW = 6_000      # cycles


def test_the_card():
    assert (window.FREE, window.LEAST, window.SLACK, window.PROBE) == (
        ReadWindow.FREE, ReadWindow.LEAST, ReadWindow.SLACK, ReadWindow.PROBE)
    assert (walk.TURN_PACKETS, walk.TURN_BYTES) == (Reader.PACKETS, Reader.BYTES)
    assert (used.MERGED, used.FLIGHTS) == (RunCollector.MERGED, Used.FLIGHTS)
    assert (run.PART_REQUESTS, supply.TURN_DESCRIPTORS, fetch.LEAST) == (PART_REQUESTS, TableTake.TURN, LEAST_LEVEL)
    assert walk.VERDICTS == VERDICTS + 2        # and those in the slice before their queue


def test_the_host():
    assert moments_seed(77) == 77 ^ run.MOMENTS
    assert state.LINE == LINE
    assert RESET == RESET_CYCLES


def test_every_packet_is_through_in_the_cycle_of_the_rtl(tmp_path, monkeypatch):
    """Two queues both ways, over rings that wrap, before a host with slow reads: every latency drawn and every choice
    that the card makes is the same, or the packets behind it come at other times."""
    monkeypatch.setattr(perf_rtl, "RUNS", tmp_path)
    setting = Setting(build="wide", direction="both", frame=128, profile="iommu-4k", queues=2, ring=128, seed=7)
    of_rtl = Runner().packets(setting, WINDOW * CYCLE_NS)
    answer, = simulate([scenario_of(setting)], cycles=[WINDOW])
    for direction, (passes, ends) in {"tx": ("first_beat", "last_beat"), "rx": ("seen", "seen")}.items():
        times = answer.times[direction]
        there = times[ends] < WINDOW
        latencies = times[passes] - answer.offered[direction]
        of_model = sorted(zip((times[passes][there] + BEGIN).tolist(), latencies[there].tolist()))
        assert len(of_model) > 500
        assert of_model == sorted(map(tuple, of_rtl[direction])), direction
