"""What the host model counts of the TLPs that pass it."""


import pytest

from testbench.bfm.tlp import (
    memory_write,
)
from testbench.unit.host_bench import Bench


def test_statistics():
    bench = Bench()
    count = bench.core.statistics
    count.label(bench.base, 1024, "ring")
    count.label(bench.base + 4096, 4, "event")
    count.label(bench.base + 8192, 4, "msix")
    count.label(0x20_0000_1000, 4096, "doorbell")
    bench.read(0, 256, 0)
    bench.read(256, 64, 1)
    bench.read(4096, 4, 2)
    bench.read(0x5000, 72, 3)
    bench.write(8, bytes(248))
    bench.write(24, bytes(8))
    bench.write(8192, bytes(4))
    bench.core.post(0, memory_write(0x20_0000_1000, bytes(4)))
    bench.run(200)
    report = count.report(200)
    assert report["up"]["read ring"] == {"tlps": 2, "bytes": 48, "payload": 0}
    assert report["up"]["write ring"] == {"tlps": 2, "bytes": 48 + 256, "payload": 256}
    assert report["down"]["completion ring"] == {"tlps": 2, "bytes": 40 + 320, "payload": 320}
    assert report["down"]["write doorbell"]["bytes"] == 28 and report["doorbells"] == 1 and report["messages"] == 1
    assert report["read_sizes"]["ring"] == {64: 1, 256: 1}
    assert report["write_sizes"]["ring"] == {8: 1, 248: 1}
    assert report["descriptors_per_fetch"] == 10 and report["used_per_write"] == 8.5
    assert report["up_bytes"] == 4 * 24 + 304 + 28
    assert report["in_flight"]["max"] == 4 and report["in_flight"]["mean"] == pytest.approx(2.15, abs=0.05)
    count.restart(200)
    assert count.report(300)["up"] == {} and count.label_of(bench.base + 1023) == "ring"
    assert count.label_of(bench.base + 1024) == "other"


def test_labels_may_not_overlap_and_can_be_taken_back():
    count = Bench().core.statistics
    count.label(100, 10, "ring")
    for address, length in ((95, 6), (109, 1), (100, 10), (90, 30)):
        with pytest.raises(ValueError, match="overlaps"):
            count.label(address, length, "event")
    count.label(110, 5, "event")
    count.label(95, 5, "msix")
    assert [count.label_of(at) for at in (94, 95, 99, 100, 109, 110, 115)] == [
        "other", "msix", "msix", "ring", "ring", "event", "other"]
    count.unlabel(100)
    assert count.label_of(105) == "other"
    count.label(100, 4, "rx")
    assert count.label_of(103) == "rx"
