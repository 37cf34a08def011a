"""What the performance model says once more, because it needs neither the RTL's packages nor the testbench's, is the
same there."""

from hdl.config import PART_REQUESTS
from hdl.dma.read_window import ReadWindow
from hdl.net.receive import VERDICTS
from hdl.virtqueue.fetch_state import LEAST_LEVEL
from hdl.virtqueue.reader import Reader
from hdl.virtqueue.table_take import TableTake
from hdl.virtqueue.used import Used
from hdl.virtqueue.used_collect import RunCollector
from model.perf.cycle import fetch, run, state, supply, used, walk, window
from testbench.bfm.host_reads import LINE, moments_seed


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
