"""What the host refuses: requests and completions that the device may not send, and memory that it may not touch."""

import pytest

from model.memory import OwnershipError
from testbench.bfm.host_rules import ProtocolError
from testbench.bfm.tlp import (
    MessageCode,
    Tlp,
    completion,
    config_read,
    config_write,
    memory_read,
    memory_write,
    message,
)
from testbench.unit.host_bench import DEVICE, Bench


@pytest.mark.parametrize("make, complaint", [
    (lambda a: memory_read(a, 64, 0, 0x100), "requester id"),
    (lambda a: memory_read(a + 4032, 128, 0, DEVICE), "crosses 4 KiB"),
    (lambda a: memory_read(a, 1024, 0, DEVICE), "Max_Read_Request_Size, 512"),
    (lambda a: memory_write(a, bytes(260), DEVICE), "Max_Payload_Size, 256"),
    (lambda a: memory_read(a, 64, 8, DEVICE), "outstanding"),
    (lambda a: memory_write(a, bytes(16), DEVICE, flags=2 << 12), "Relaxed Ordering on ring"),
    (lambda a: memory_write(a, bytes(4), DEVICE, flags=1 << 14), "poisoned"),
    (lambda a: message(MessageCode.PME_TURN_OFF, requester=DEVICE), "doesn't send"),
    (lambda a: config_read(DEVICE, 0, 4, 0, DEVICE), "neither memory request nor message"),
])
def test_bad_requests(make, complaint):
    bench = Bench()
    bench.core.statistics.label(bench.base, 16, "ring")
    bench.read(0x100, 4, 8)
    with pytest.raises(ProtocolError, match=complaint):
        bench.core.rq(1, make(bench.base))


def test_requests_that_were_not_enabled():
    bench = Bench()
    bench.core.rules.extended_tags = False
    with pytest.raises(ProtocolError, match="Extended Tag Enable"):
        bench.read(0, 64, 32)
    bench.core.rules.bus_master = False
    with pytest.raises(ProtocolError, match="Bus Master Enable"):
        bench.read(0, 64, 1)


def test_malformed_addresses_and_enables():
    bench = Bench()
    header = memory_read(bench.base, 64, 0, DEVICE).header
    for broken, complaint in [(header & ~(0xffff_ffff << 64), "4-DW header below"),
                              (header & ~(1 << 37), "with a gap"), (header | 1 << 10, "AT is not 0")]:
        with pytest.raises(ProtocolError, match=complaint):
            bench.core.rq(0, Tlp(broken))


def test_touching_what_the_driver_has_not_given():
    bench = Bench()
    stranger = bench.memory.allocate(64)
    bench.core.rq(0, memory_write(stranger, bytes(4), DEVICE))
    with pytest.raises(OwnershipError, match="device write"):
        bench.run(10)
    bench.core.rq(bench.cycle, memory_read(stranger, 4, 0, DEVICE))
    with pytest.raises(OwnershipError, match="device read"):
        bench.run(200)


@pytest.mark.parametrize("make, answer, complaint", [
    (lambda tag: config_read(DEVICE, 0, 4, tag), dict(tag=9), "not outstanding"),
    (lambda tag: config_read(DEVICE, 0, 4, tag), dict(payload=b""), "data, or none"),
    (lambda tag: config_write(DEVICE, 0, b"1234", tag), dict(payload=bytes(4)), "data, or none"),
    (lambda tag: config_read(DEVICE, 0, 4, tag), dict(byte_count=8), "byte count 4"),
    (lambda tag: config_read(DEVICE, 0, 4, tag), dict(status=1), "data with an error status"),
    (lambda tag: config_read(DEVICE, 0, 4, tag), dict(requester=5), "requester id"),
    (lambda tag: config_read(DEVICE, 0, 4, tag), dict(completer=5), "completer id"),
    (lambda tag: memory_read(0x1002, 2, tag), dict(byte_count=2, lower_address=0), "lower address is not 0x2"),
    (lambda tag: memory_read(0x1002, 2, tag), dict(byte_count=4, lower_address=2), "byte count is not 2"),
    (lambda tag: memory_read(0x1000, 512, tag), dict(byte_count=512, payload=bytes(260)), "more than Max_Payload"),
])
def test_bad_completions(make, answer, complaint):
    bench = Bench()
    bench.request(make)
    bench.run(5)
    tlp = completion(**{"requester": 0, "tag": bench.requests[0][1].tag, "completer": DEVICE, "payload": bytes(4),
                        **answer})
    bench.core.cc(5, tlp)
    with pytest.raises(ProtocolError, match=complaint):
        bench.run(10)


@pytest.mark.parametrize("bits, complaint", [(1 << 15, "with digest"), (1 << 12, "attributes"), (1 << 20, "class")])
def test_completions_repeat_what_the_request_had(bits, complaint):
    bench = Bench()
    bench.request(lambda tag: config_read(DEVICE, 0, 4, tag))
    bench.run(5)
    tlp = completion(0, bench.requests[0][1].tag, DEVICE, payload=bytes(4))
    bench.core.cc(5, Tlp(tlp.header | bits, tlp.payload))
    with pytest.raises(ProtocolError, match=complaint):
        bench.run(10)
