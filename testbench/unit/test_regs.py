"""The register kit: byte enables, kinds of access, and refused maps."""

import pytest

from hdl.regs import Access, Field, RegisterFile, RegisterMap
from testbench.unit.bench import StreamBench

MAP = RegisterMap("sample", 16, [
    Field(name="identity", offset=0, width=16, access=Access.CONSTANT, reset=0x1AF4, doc="who we are"),
    Field(name="level", offset=2, width=8, access=Access.R, doc="an input"),
    Field(name="control", offset=4, width=16, access=Access.RW, reset=0x55, doc="stored"),
    Field(name="kept", offset=6, width=3, bit=2, access=Access.RW, reset=1, sticky=True, doc="survives a clear"),
    Field(name="events", offset=8, width=4, access=Access.W1C, doc="written 1 to clear"),
    Field(name="window", offset=12, width=16, access=Access.EXTERNAL, doc="kept elsewhere"),
])


def write(address, data, strobe=0xf):
    return {"write": 1, "address": address, "data": data, "strobe": strobe}


def read(address, strobe=0xf):
    return {"write": 0, "address": address, "strobe": strobe}


def run(requests, *, before=None, stall=0.0):
    dut = RegisterFile(MAP)
    bench = StreamBench(dut, seed=3)
    bench.put(dut.bus.request, requests, stall=stall)
    reads = sum(not request["write"] for request in requests)
    answers = bench.get(dut.bus.response, count=reads, stall=stall)
    if before is not None:
        bench.process(lambda ctx: before(ctx, dut))
    bench.run()
    return answers


@pytest.mark.parametrize("stall", [0, 0.5])
def test_byte_enables_and_constants(stall):
    assert run([
        read(0), read(4), write(4, 0xffff_1234, 0b0010), read(4), write(4, 0xffff_ffff, 0b0100), read(4),
        write(0, 0xffff_ffff), read(0), read(8),
    ], stall=stall) == [0x1AF4, 0x0004_0055, 0x0004_1255, 0x001c_1255, 0x1AF4, 0]


def test_inputs_and_write_1_to_clear():
    async def drive(ctx, dut):
        ctx.set(dut.level, 0xa5)
        ctx.set(dut.events_set, 0b1011)
        await ctx.tick()
        ctx.set(dut.events_set, 0)
    idle = [read(12)] * 3
    assert run([*idle, read(0), read(8), write(8, 0b0010), read(8), write(8, 0b1000, 0b1110), read(8)],
               before=drive)[3:] == [0xa5_1AF4, 0b1011, 0b1001, 0b1001]


def test_clear_spares_sticky_fields():
    async def drive(ctx, dut):
        await ctx.tick().repeat(8)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
    requests = [write(4, 0x0008_ffff), *[read(4)] * 20]
    answers = run(requests, before=drive)
    assert answers[0] == 0x0008_ffff
    assert answers[-1] == 0x0008_0055


def test_external_fields_report_accesses():
    dut = RegisterFile(MAP)
    bench = StreamBench(dut)
    bench.put(dut.bus.request, [write(12, 0xbeef, 0b0001), write(12, 0xbeef, 0b1100), read(12, 0b0010),
                                read(12, 0b0100)])
    answers = bench.get(dut.bus.response, count=2)
    seen = []

    async def watch(ctx):
        ctx.set(dut.window, 0x1234)
        async for _, _, strobe, data, reading in ctx.tick().sample(dut.window_strobe, dut.window_data,
                                                                   dut.window_read):
            if strobe:
                seen.append(("write", strobe, data))
            if reading:
                seen.append(("read",))
    bench.process(watch, wait=False)
    bench.run()
    assert seen == [("write", 0b01, 0xbeef), ("read",)]
    assert answers == [0x1234, 0x1234]


@pytest.mark.parametrize("fields, message", [
    ([dict(name="a", offset=0, width=33, access=Access.R)], "1 to 32 bits wide, not 33"),
    ([dict(name="a", offset=2, width=24, access=Access.R)], "crosses the DW"),
    ([dict(name="a", offset=0, width=4, access=Access.RW, reset=16)], "16 of field 'a' does not fit"),
    ([dict(name="a", offset=0, width=8, access=Access.R), dict(name="b", offset=0, bit=7, width=1, access=Access.R)],
     "'a' and 'b' of map 'm' overlap"),
    ([dict(name="a", offset=0, width=8, access=Access.R), dict(name="a", offset=4, width=1, access=Access.R)],
     "two fields 'a'"),
    ([dict(name="a", offset=8, width=8, access=Access.R)], "outside the 8 bytes"),
])
def test_bad_maps_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        RegisterMap("m", 8, [Field(**f) for f in fields])


def test_documentation_comes_from_the_same_fields():
    assert "#define SAMPLE_KEPT_MASK 0x1c" in MAP.c_header()
    assert "| 0x004 | 15:0 | control | RW | 0x55 | stored |" in MAP.markdown()
    assert {"name": "level", "offset": 2, "bit": 0, "width": 8, "access": "R", "reset": 0,
            "description": "an input"} in MAP.describe()
