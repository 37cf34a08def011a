"""The configuration space: what it says, what can be written, and what follows from that."""

import pytest

from hdl.config import NicConfig
from hdl.pcie.bar import BarLayout
from hdl.pcie.config_map import config_map
from hdl.pcie.config_space import ConfigSpace
from testbench.unit import tlp as t
from testbench.unit.bench import StreamBench
from testbench.unit.completer_bench import BAR, SUCCESS, UNSUPPORTED, run

ERROR_BITS = 1 << 4 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 20
# Bits that software may set and clear again; everything else stays as it is
WRITABLE = {
    0x04: 0x0546, 0x0c: 0xff, 0x10: 0xfffc_0000, 0x14: 0xffff_ffff, 0x3c: 0xff,
    0x44: 0x3, 0x48: 0xc000_0000,
    0x9c: 0xff, 0xa0: 0xffff_ffff, 0xa4: 0xffff_ffff,
    0xb4: 0x79ff, 0xbc: 0xcb, 0xd4: 0x1f, 0xdc: 0xf,
    0x108: ERROR_BITS, 0x10c: ERROR_BITS, 0x114: 0x31c1,
}
AFTER_RESET = {
    0x00: 0x1041_1af4, 0x04: 0x0010_0000, 0x08: 0x0200_0001, 0x10: 0x4, 0x2c: 0x1041_1af4, 0x34: 0x40, 0x3c: 0x0100,
    0x40: 0x0003_4801, 0x44: 0x8, 0x48: 0x0003_5411, 0x4c: 0x2_0000, 0x50: 0x3_0000,
    0x54: 0x0110_6409, 0x58: 0, 0x5c: 0x0000, 0x60: 64,
    0x64: 0x0214_7809, 0x68: 0, 0x6c: 0x1_0000, 0x70: 3 * 4096, 0x74: 4096,
    0x78: 0x0310_8809, 0x7c: 0, 0x80: 0x0100, 0x84: 1,
    0x88: 0x0410_9809, 0x8c: 0, 0x90: 0x0200, 0x94: 28,
    0x98: 0x0514_ac09,
    0xac: 0x0002_0010, 0xb0: 0x1000_8022, 0xb4: 0x2810, 0xb8: 0x0040_0083, 0xbc: 0x1083_0000,
    0xd0: 0x1f, 0xd8: 0x0e, 0xdc: 0x3,
    0x100: 0x0001_0001, 0x10c: 1 << 4 | 1 << 18, 0x114: 1 << 13,
}
WALK = range(0, 4096, 4)


def answers_of(requests, *, stall=0.0):
    """Run requests against the configuration space alone; returns what the reads gave."""
    dut = ConfigSpace(BarLayout.of(NicConfig.preset("tiny")))
    bench = StreamBench(dut, seed=2)
    bench.put(dut.bus.request, requests, stall=stall)
    answers = bench.get(dut.bus.response, count=sum(not request["write"] for request in requests), stall=stall)
    bench.run()
    return answers


def read(register):
    return {"write": 0, "address": register, "strobe": 0xf}


def write(register, value, strobe=0xf):
    return {"write": 1, "address": register, "data": value, "strobe": strobe}


@pytest.mark.requirements("PCI-001", "PCI-002", "PCI-003", "PCI-005", "PCI-006", "PCI-007", "PCI-091")
def test_every_dword_after_reset():
    got = dict(zip(WALK, answers_of([read(register) for register in WALK]), strict=True))
    assert {register: value for register, value in got.items() if value != AFTER_RESET.get(register, 0)} == {}


@pytest.mark.requirements("PCI-019")
def test_every_bit_that_is_not_writable_stays():
    requests = []
    walk = [*range(0, 0x200, 4), *range(0x200, 0x1000, 0x34)]
    for register in walk:
        requests += [write(register, 0xffff_ffff), read(register), write(register, 0), read(register)]
    got = iter(answers_of(requests))
    for register in walk:
        fixed = AFTER_RESET.get(register, 0) & ~WRITABLE.get(register, 0)
        ones, zeros = next(got), next(got)
        assert ones == fixed | WRITABLE.get(register, 0), f"{register:#x} after writing ones: {ones:#010x}"
        assert zeros == fixed, f"{register:#x} after writing zeros: {zeros:#010x}"


def test_byte_enables():
    assert answers_of([write(0x14, 0x1122_3344, 0b0101), read(0x14), write(0x14, 0xaabb_ccdd, 0b1000), read(0x14),
                       write(0x14, 0, 0), read(0x14)]) == [0x0022_0044, 0xaa22_0044, 0xaa22_0044]


def test_power_state_has_d0_and_d3hot_only():
    assert [value & 3 for value in answers_of(
        [write(0x44, 3), read(0x44), write(0x44, 2), read(0x44), write(0x44, 0), read(0x44), write(0x44, 1),
         read(0x44), write(0x44, 3, 0b1110), read(0x44)])] == [3, 3, 0, 0, 0]


def capabilities(space):
    """[(offset, id)] of the list, following it as a driver does."""
    found = []
    at = space[0x34 // 4] & 0xff
    while at:
        assert at % 4 == 0 and at >= 0x40 and at not in [offset for offset, _ in found], hex(at)
        word = space[at // 4]
        found.append((at, word & 0xff))
        at = word >> 8 & 0xff
    return found


@pytest.mark.requirements("PCI-014", "PCI-017", "PCI-018", "PCI-022", "PCI-023", "PCI-049", "PCI-061", "PCI-062",
                          "PCI-069", "PCI-070", "PCI-078")
def test_capability_chain():
    space = answers_of([read(register) for register in range(0, 0x100, 4)])
    assert space[1] >> 20 & 1, "capabilities list bit"
    chain = capabilities(space)
    assert sorted(kind for _, kind in chain) == [0x01] + [0x09] * 5 + [0x10, 0x11]
    lengths = {0x01: 8, 0x10: 0x3c, 0x11: 12}
    ends = 0
    structures = {}
    for at, kind in sorted(chain):
        assert at >= ends, f"capability at {at:#x} overlaps the one before"
        words = space[at // 4:]
        length = words[0] >> 16 & 0xff if kind == 0x09 else lengths[kind]
        ends = at + length
        if kind == 0x09:
            structures[words[0] >> 24] = (length, words[1], words[2], words[3], words[4])
    assert ends <= 0x100
    assert {kind: entry[:1] for kind, entry in structures.items()} == {1: (16,), 2: (20,), 3: (16,), 4: (16,), 5: (20,)}
    size = ~(0xfffc_0000) + 1 & 0xffff_ffff
    for kind in (1, 2, 3, 4):
        _, bar, offset, length, _ = structures[kind]
        assert bar == 0 and offset % 4 == 0 and length and offset + length <= size
    assert structures[1][3] >= 64 and structures[3][3] >= 1 and structures[4][3] >= 28


@pytest.mark.parametrize("name", ["tiny", "default", "full"])
@pytest.mark.requirements("PCI-050", "PCI-051", "PCI-052", "PCI-053", "PCI-054", "PCI-055", "PCI-056", "PCI-057",
                          "PCI-058", "PCI-059", "PCI-089", "PCI-090", "PCI-091")
def test_bar_layout(name):
    config = NicConfig.preset(name)
    layout = BarLayout.of(config)
    fields = config_map(layout)
    spans = sorted([(layout.common, 64), (layout.isr, 1), (layout.device, 28), (layout.counters, 4096),
                    (layout.notify, layout.notify_length), (layout.msix_table, layout.msix_table_length),
                    (layout.msix_pba, layout.msix_pba_length), (layout.size, 0)])
    for (start, length), (following, _) in zip(spans, spans[1:], strict=False):
        assert start + length <= following
    for start in (layout.notify, layout.msix_table, layout.msix_pba):
        assert start % 0x10000 == 0
    assert layout.size & layout.size - 1 == 0
    assert layout.notify_length >= (config.queues - 1) * fields["notify_off_multiplier"].reset + 4
    assert fields["notify_length"].reset == layout.notify_length
    assert fields["notify_offset"].reset == layout.notify
    assert fields["notify_off_multiplier"].reset == config.page
    assert fields["msix_table_size"].reset == 2 * config.pairs + 1
    assert 2 <= layout.vectors <= 0x800
    assert layout.msix_pba_length * 8 >= layout.vectors


@pytest.mark.requirements("PCI-004")
def test_subsystem_ids_are_parameters():
    async def body(host):
        assert await host.config_read(0x2c) == 0x1234_5678
    run(body, subsystem_vendor=0x5678, subsystem_device=0x1234)


@pytest.mark.parametrize("ids, text", [({"subsystem_device": 0x3f}, "0x3f"),
                                       ({"subsystem_vendor": 1 << 16}, "0x10000")])
def test_bad_subsystem_ids_are_refused(ids, text):
    with pytest.raises(ValueError, match=text):
        config_map(BarLayout.of(NicConfig.preset("tiny")), **ids)


def test_bar_sizing_and_controls():
    async def body(host):
        await host.config_write(0x10, 0xffff_ffff)
        await host.config_write(0x14, 0xffff_ffff)
        size = ~(await host.config_read(0x14) << 32 | await host.config_read(0x10) & ~0xf) + 1 & (1 << 64) - 1
        assert size == 0x4_0000
        outputs = ("bus_master_enable", "memory_space_enable", "interrupt_disable", "extended_tag_enable",
                   "relaxed_ordering_enable", "no_snoop_enable", "max_payload", "max_read_request",
                   "completion_timeout", "completion_timeout_disable", "msix_enable", "msix_function_mask")

        def controls():
            return [host.get(name) for name in outputs]
        await host.start(command=0)
        assert controls() == [0, 0, 0, 0, 1, 1, 0, 2, 0, 0, 0, 0]
        await host.start(command=0x0406, control=1 << 12 | 1 << 8 | 1 << 5)
        await host.config_write(0xd4, 0x16)
        await host.config_write(0x48, 0x8000_0000)
        assert controls() == [1, 1, 1, 1, 0, 0, 1, 1, 6, 1, 1, 0]
        await host.config_write(0x48, 0x4000_0000)
        # Values that software must not write do no harm
        await host.start(control=7 << 12 | 7 << 5)
        assert controls() == [1, 1, 1, 0, 0, 0, 2, 5, 6, 1, 0, 1]
        await host.config_write(0x44, 3)
        assert controls()[:2] == [0, 0]
        await host.config_write(0x44, 0)
        assert controls()[:2] == [1, 1]
        host.set("transactions_pending", 1)
        assert await host.config_read(0xb4) >> 16 == 0x20
    run(body)


def test_numbers_are_taken_from_configuration_writes():
    async def body(host):
        assert (await host.ask(t.config_read(0, bus=3, device=4))).completer == 0
        assert (await host.ask(t.config_write(0x3c, 0, bus=0x42, device=9))).completer == 0x42 << 8 | 9 << 3
        assert host.get("requester_id") == 0x42 << 8 | 9 << 3
        assert (await host.ask(t.config_read(0, bus=3, device=4))).completer == 0x42 << 8 | 9 << 3
        # What is refused names nobody
        refused = await host.ask(t.config_write(0x3c, 0, bus=5, device=1, function=1))
        assert (refused.status, refused.completer) == (UNSUPPORTED, 0x42 << 8 | 9 << 3)
        poisoned = await host.ask(t.config_write(0x3c, 0, bus=5, device=1, ep=1))
        assert (poisoned.status, poisoned.completer) == (UNSUPPORTED, 0x42 << 8 | 9 << 3)
    run(body)


@pytest.mark.parametrize("stall", [0, 0.4])
@pytest.mark.requirements("PCI-079", "PCI-080", "PCI-081")
def test_window(stall):
    async def body(host):
        await host.start(command=0)   # the window needs no Memory Space Enable
        async def aim(offset, length, bar=0):
            await host.config_write(0x9c, bar, enables=0b0001)
            await host.config_write(0xa0, offset)
            await host.config_write(0xa4, length)
        for offset, length in [(0x1000, 4), (0x1002, 2), (0x1000, 2), (0x1003, 1), (0x1001, 1), (0x3_fffc, 4),
                               (0x3_ffff, 1)]:
            await aim(offset, length)
            host.accesses.clear()
            assert await host.config_read(0xa8) == int.from_bytes(host.image(offset, length), "little")
            strobe = ((1 << length) - 1) << offset % 4
            assert host.accesses == [(0, offset & ~3, None, strobe)]
            expected = bytearray(host.image(offset & ~3, 4))
            expected[offset % 4:offset % 4 + length] = 0x7766_5544.to_bytes(4, "little")[:length]
            await host.config_write(0xa8, 0x7766_5544)
            await host.until(lambda: len(host.accesses) == 2)
            assert [access[:2] + access[3:] for access in host.accesses[1:]] == [(1, offset & ~3, strobe)]
            assert host.image(offset & ~3, 4) == bytes(expected)
        # Only enabled bytes count; beyond the length none do
        await aim(0x2000, 2)
        host.accesses.clear()
        await host.config_write(0xa8, 0x1234_5678, enables=0b1110)
        await host.until(lambda: host.accesses)
        assert host.accesses[0][3] == 0b0010
        assert await host.config_read(0xa8, enables=0b1100) is not None
        assert host.accesses[1][3] == 0
    run(body, stall=stall)


@pytest.mark.requirements("PCI-081")
def test_window_survives_anything():
    async def body(host):
        await host.start(command=0)
        for bar, offset, length in [(1, 0, 4), (255, 0, 4), (0, 0, 0), (0, 0, 3), (0, 0, 8), (0, 0, 0xffff_ffff),
                                    (0, 2, 4), (0, 1, 2), (0, 3, 2), (0, 0x4_0000, 4), (0, 0x8000_0000, 1),
                                    (0, 0xffff_fffc, 4), (0, 0, 0x0001_0004)]:
            await host.config_write(0x9c, bar)
            await host.config_write(0xa0, offset)
            await host.config_write(0xa4, length)
            assert await host.config_read(0xa8) == 0
            await host.config_write(0xa8, 0xffff_ffff)
        assert host.accesses == []
        await host.config_write(0x9c, 0)
        await host.config_write(0xa0, 8)
        await host.config_write(0xa4, 4)
        assert await host.config_read(0xa8) == host.word(8)
    run(body)


def test_function_level_reset():
    async def body(host):
        await host.start(command=0x0146, control=1 << 12 | 2 << 5 | 0xf)
        await host.config_write(0x108, 1 << 20)
        await host.config_write(0x48, 0x8000_0000)
        await host.config_write(0xdc, 2)
        host.send(t.memory_write(0x10, b"1234"))     # nobody's: leaves a status behind
        await host.drained()
        assert await host.config_read(0x104) == 1 << 20
        assert host.flrs == 0
        # The write is answered first: while the answer cannot leave there is no reset
        host.cc_open = False
        host.send(t.config_write(0xb4, 0x8000 | 1 << 12 | 2 << 5 | 0xf, tag=7, enables=0b0011))
        host.send(t.config_read(0x04, tag=8))
        await host.drained()
        assert host.flrs == 0 and host.get("bus_master_enable")
        host.set("flr_busy", 1)
        host.cc_open = True
        await host.until(lambda: host.answered == 2)
        done, command = host.completions()
        assert (done.tag, done.status) == (7, SUCCESS) and host.flrs == 1
        assert (command.tag, command.data) == (8, b"\0\0\x10\0")
        # Gone: enables, BAR, MSI-X. Kept: Max_Payload_Size, link controls, error logs and masks
        assert [await host.config_read(register) for register in (0x10, 0x14, 0x48)] == [4, 0, 0x0003_5411]
        assert await host.config_read(0xb4) == 0x2850
        assert [await host.config_read(register) for register in (0xdc, 0x104, 0x108)] == [2, 1 << 20, 1 << 20]
        # While the card is not quiet, not even enabled memory requests are taken
        await host.start()
        assert (await host.ask(t.memory_read(BAR, 4))).status == UNSUPPORTED
        host.set("flr_busy", 0)
        assert await host.read(BAR, 4) == host.image(0, 4)
        assert host.flrs == 1
    run(body)


def test_reset_from_d3hot_wakes_up():
    async def body(host):
        await host.config_write(0x44, 3)
        await host.config_write(0xb4, 0x8000, enables=0b0010)
        assert await host.config_read(0x44) == 8 and host.flrs == 1
    run(body)
