"""The models of host and MAC at the ports of a card without anything inside, which the bench plays itself."""

import random

import cocotb
from cocotb.triggers import Event, RisingEdge, Timer

from testbench.bfm import (
    EthMonitor,
    Frame,
    Kind,
    MessageCode,
    RequestFailed,
    Status,
    Tlp,
)
from testbench.bfm.tlp import completion, memory_read, memory_write, message
from testbench.unit.bfm_card import DEVICE, Card


@cocotb.test
async def tlps_pass_unchanged_under_back_pressure(dut):
    card = await Card(dut).start()
    rng = random.Random(5)
    sent = []
    for i in range(60):
        length = rng.choice([0, 1, 4, 31, 32, 33, 64, 100, 256])
        sent.append(memory_write(rng.getrandbits(40) << 2, rng.randbytes(length)) if length
                    else memory_read(0x1000 * i, 64, i))
    card.cq.stall(0.4, seed=2)
    card.host.cq.stall(0.3, seed=3)
    for tlp in sent:
        card.host.post(tlp)
    await card.until(lambda: len(card.cq) == 60)
    assert list(card.cq) == sent
    card.cq.stall(iter([True] * 40))
    done = Event()
    called = []
    card.host.cq.append(sent[0], callback=called.append, event=done)
    await done.wait()
    await card.host.cq.send(sent[1])
    assert called == [sent[0]]
    await card.until(lambda: len(card.cq) == 62)
    assert list(card.cq)[60:] == sent[:2]


@cocotb.test
async def configuration_and_registers(dut):
    card = await Card(dut).start()
    host = card.host
    host.rules.requester = None
    space = bytearray(range(256)) * 16
    seen = []

    def respond(tlp):
        seen.append(tlp)
        if tlp.kind is Kind.CONFIG_READ:
            at = 4 * tlp.register
            return completion(tlp.requester, tlp.tag, host.rules.requester or 0, payload=bytes(space[at:at + 4]))
        if tlp.kind is Kind.CONFIG_WRITE:
            first, end = tlp.enabled()
            space[4 * tlp.register + first:4 * tlp.register + end] = tlp.payload[first:end]
            return completion(tlp.requester, tlp.tag, DEVICE)
        if tlp.kind is Kind.MEMORY_READ and tlp.address < 0x20_0000_1000:
            first, end = tlp.enabled()
            return completion(tlp.requester, tlp.tag, DEVICE, byte_count=end - first,
                              lower_address=tlp.address + first & 0x7f, payload=b"\x11\x22\x33\x44" * (tlp.length // 4))
        if tlp.kind is Kind.MEMORY_READ and tlp.address < 0x20_0000_2000:
            return completion(tlp.requester, tlp.tag, DEVICE, status=Status.UNSUPPORTED_REQUEST)
        return None
    card.answer_with(respond)
    assert await host.config_read(0x10) == 0x13121110
    assert host.rules.requester is None
    await host.config_write(0x12, 0xbeef, 2)
    assert host.rules.requester == DEVICE
    assert await host.config_read(0x12, 2) == 0xbeef and await host.config_read(0x11, 1) == 0x11
    assert await host.mmio_read(0x20_0000_0002, 2) == 0x4433
    assert await host.mmio_read(0x20_0000_0000, 8) == 0x44332211_44332211
    await host.mmio_write(0x20_0000_0013, 0x7f, 1)
    await card.until(lambda: seen[-1].kind is Kind.MEMORY_WRITE)
    assert (seen[-1].address, seen[-1].first_be, seen[-1].payload) == (0x20_0000_0010, 8, b"\0\0\0\x7f")
    for address, status in ((0x20_0000_1000, Status.UNSUPPORTED_REQUEST), (0x20_0000_2000, None)):
        host.timeout_ns = 2000
        try:
            await host.mmio_read(address)
        except RequestFailed as failure:
            assert failure.status == status
        else:
            raise AssertionError("no error")
    host.message(MessageCode.PME_TURN_OFF)
    await card.until(lambda: seen[-1].kind is Kind.MESSAGE)
    assert seen[-1].code == MessageCode.PME_TURN_OFF and seen[-1].header >> 24 & 0xff == 0x33


@cocotb.test
async def rules_follow_configuration_writes(dut):
    card = await Card(dut).start()
    host = card.host
    host.rules.reset()
    space = bytearray(256)
    space[6], space[0x34], space[0x40:0x42], space[0x60:0x62] = 0x10, 0x40, b"\x01\x60", b"\x10\0"

    def respond(tlp):
        own = host.rules.requester or 0
        at = 4 * tlp.register
        if tlp.kind is Kind.CONFIG_READ:
            return completion(tlp.requester, tlp.tag, own, payload=bytes(space[at:at + 4]))
        return completion(tlp.requester, tlp.tag, own)
    card.answer_with(respond)
    await host.config_write(4, 0x0406, 2)
    assert host.rules.bus_master and host.rules.mps == 128
    await host.config_write(0x68, 0x5120, 2)    # read requests of 4096 bytes, extended tags, payload of 256
    assert (host.rules.mps, host.rules.mrrs, host.rules.extended_tags, host.config.express) == (256, 4096, True, 0x60)
    await host.config_write(0x69, 0x20, 1)
    assert (host.rules.mps, host.rules.mrrs, host.rules.extended_tags) == (256, 512, False)
    await host.config_write(5, 0, 1)
    assert host.rules.bus_master
    disable = cocotb.start_soon(host.config_write(4, 0, 2))
    await RisingEdge(dut.clk)
    assert host.rules.bus_master
    await disable
    assert not host.rules.bus_master and host.rules.requester == DEVICE
    enable = cocotb.start_soon(host.config_write(4, 6, 2))
    await RisingEdge(dut.clk)
    assert host.rules.bus_master and host.core.requester.outstanding
    await enable
    await host.config_write(0x68, 0xa020, 2)    # with a function level reset
    assert (host.rules.mps, host.rules.bus_master, host.rules.requester) == (128, False, None)


@cocotb.test
async def dma_takes_the_profiles_time(dut):
    """From the last beat of rq to the first of rc: whether the loop slept or was kept awake must make no difference."""
    card = await Card(dut).start()
    for awake in (False, True):
        card.times.clear()
        if awake:
            card.host.rq.stall(iter(lambda: False, None))
        data = random.Random(1).randbytes(512)
        card.memory.write(card.base, data)
        for tag, length in enumerate((64, 512)):
            await Timer(1234, "ns")
            card.rq.append(memory_read(card.base, length, tag, DEVICE))
            await card.host.idle()
            await card.until(lambda: card.rc and card.rc.stats.received_transactions)
            await card.until(lambda length=length: sum(len(tlp.payload) for tlp in card.rc) == length)
            assert b"".join(tlp.payload for tlp in card.rc) == data[:length]
            card.rc._recvQ.clear()
        beats = 256 * 8 // len(dut.rq_data)
        first, second = card.times["rq"]
        assert card.times["rc"][0] - first == 100 + 64 * 8 // len(dut.rq_data) - 1
        assert card.times["rc"][1] - second == 100 + beats - 1
    card.host.rq.stall(None)


@cocotb.test
async def cycles_are_counted_through_sleep(dut):
    card = await Card(dut).start()
    loop = card.env.loop
    await Timer(1, "ns")
    counted = loop.cycle
    edge = RisingEdge(dut.clk)
    for wait in (3, 17, 300, 1001):
        for _ in range(wait):
            await edge
            counted += 1
        if wait == 300:
            card.rq.append(message(MessageCode.ERR_COR, requester=DEVICE))
    await Timer(1, "ns")
    loop.wake()
    await edge
    await edge
    await Timer(1, "ns")
    assert loop.cycle == counted + 2, (loop.cycle, counted)
    assert card.host.errors == [MessageCode.ERR_COR]


@cocotb.test
async def writes_messages_and_interrupts(dut):
    card = await Card(dut).start()
    target = card.memory.allocate(4, at=0xfee0_0000)
    card.memory.give(target, 4, "w")
    vectors, levels, errors = [], [], []
    card.memory.watch(target, 4, lambda address, data: vectors.append(int.from_bytes(data, "little")))
    card.host.on_intx.append(levels.append)
    card.host.on_error.append(errors.append)
    data = random.Random(3).randbytes(253)
    card.rq.append(memory_write(card.base + 1, data, DEVICE))
    card.rq.append(memory_write(target, b"\x21\0\0\0", DEVICE))
    for code in (MessageCode.ASSERT_INTA, MessageCode.ERR_FATAL, MessageCode.DEASSERT_INTA):
        card.rq.append(message(code, requester=DEVICE))
    await card.until(lambda: len(levels) == 2)
    await card.host.idle()
    assert card.memory.read(card.base, 256) == b"\0" + data + b"\0\0"
    assert (vectors, levels, errors) == ([0x21], [True, False], [MessageCode.ERR_FATAL]) and not card.host.intx


@cocotb.test
async def saturated_link_and_reads_on_hold(dut):
    card = await Card(dut, link="gen3x8").start()
    queue = iter(lambda: memory_write(card.base, bytes(256), DEVICE), None)
    card.rq.supply = lambda cycle: next(queue)
    await card.env.clocks(1500)
    card.host.statistics.restart(card.env.now)
    await card.env.clocks(1000)
    rate = card.host.statistics.report(card.env.now)["up_bytes"] / 4000 * 8
    assert abs(rate / card.host.core.link.spec - 1) < 0.02, rate
    card.rq.supply = None
    await card.host.idle()
    assert dut.rq_np_ready.value == 1
    card.host.hold_reads(True)
    await card.env.clocks(12)
    assert dut.rq_np_ready.value == 0
    card.host.hold_reads(False)
    await card.until(lambda: dut.rq_np_ready.value == 1)


@cocotb.test
async def frames_in_both_directions(dut):
    card = await Card(dut).start()
    mac = card.env.mac
    rng = random.Random(8)
    frames = [rng.randbytes(length) for length in (14, 31, 32, 33, 60, 64, 65, 128, 1514)]
    for i, data in enumerate(frames):
        mac.send(data, bad=i == 3)
    await card.until(lambda: len(card.eth_rx) == len(frames))
    assert [(frame.data, frame.bad) for frame in card.eth_rx] == [(data, i == 3) for i, data in enumerate(frames)]
    assert mac.idle and mac.frames_sent == len(frames)
    mac.loopback = True
    for data in frames:
        card.eth_tx.append(Frame(data))
    await card.until(lambda: len(card.eth_rx) == 2 * len(frames))
    assert [frame.data for frame in mac.captured] == frames
    assert [frame.data for frame in card.eth_rx][len(frames):] == frames
    beats = -(-1514 * 8 // len(dut.eth_tx_tdata))
    assert mac.captured[-1].last - mac.captured[-1].first == beats - 1


@cocotb.test
async def frames_at_a_line_rate(dut):
    card = await Card(dut, gbps=10).start()
    mac = card.env.mac
    for _ in range(50):
        mac.send(bytes(60))
        card.eth_tx.append(Frame(bytes(60)))
    received = []
    EthMonitor(dut, "eth_rx", dut.clk, card.loop, callback=received.append)
    await card.until(lambda: len(received) == 50 and len(mac.captured) == 50)
    cycles = 84 * 8 / 10 / 4
    assert abs((received[-1].first - received[0].first) / 49 - cycles) < 0.05
    starts = [frame.first for frame in mac.captured]
    assert starts[19] - starts[0] < 60      # the MAC takes 2 KiB in advance, and then what the wire carries
    assert abs((starts[49] - starts[29]) / 20 - cycles) < 0.1


@cocotb.test
async def reset_forgets_what_is_under_way(dut):
    card = await Card(dut).start()
    card.rq.append(memory_read(card.base, 64, 0, DEVICE))
    card.env.mac.send(bytes(1514))
    await card.env.clocks(10)
    await card.env.reset()
    assert card.host.core.idle and not card.host.rules.bus_master
    await card.env.clocks(200)
    assert not len(card.rc) and not len(card.eth_rx)
    card.env.mac.send(b"after reset!!!")
    await card.until(lambda: len(card.eth_rx) == 1)


@cocotb.test
async def unexpected_completions_reach_the_device(dut):
    card = await Card(dut).start()
    card.host.send_completion(completion(DEVICE, 99, 0, payload=bytes(4)))
    await card.until(lambda: len(card.rc) == 1)
    assert isinstance(card.rc[0], Tlp) and card.rc[0].tag == 99
