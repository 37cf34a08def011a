"""Buffers whose elements stand in indirect tables, alone and among direct chains."""

from model import formats
from model.formats import Feature
from testbench.driver.framing import Framing
from testbench.driver.options import WANTED
from testbench.driver.ring import RingStyle
from testbench.system.bench_chains import breaks, post
from testbench.system.bench_traffic import echo
from testbench.system.case import system_test

TABLES = WANTED | formats.feature_set(Feature.INDIRECT_DESC)
# Only what counts is right: ids and the flag of the ring's descriptor are not, nor are tables aligned.
ODD = RingStyle(indirect="always", set_id_on_all=False, set_write_on_table=True, table_offset=8)
INDIRECT = 4


def pieces(count, *, first=2, step=2):
    """A framing of `count` elements."""
    return Framing(cuts=tuple(range(first, first + step * (count - 1), step)), gap=1)


def mix(ring, rng):
    """Every buffer of several elements gets a table or none, by chance; which one stands as long as it is waiting."""
    choices = {}

    def with_table(count, indirect):
        place = ring.avail_index, ring.avail_wrap
        if place not in choices:
            choices.clear()
            choices[place] = rng.random() < 0.5
        return choices[place]
    ring._with_table = with_table


def tables_of(count):
    @system_test("PKD-028", "PKD-030", "PKD-031", "PKD-022", "PKD-026", "BAS-030", timeout_us=8000,
                 name=f"tables_of_{count}")
    async def run(bench):
        nic = await bench.nic(queue_size=40, wanted=TABLES, style=ODD, framing=pieces(count), buffer_slack=2048,
                              receive_framing=pieces(count, first=12, step=9), receive_buffers=24)
        frames = [bench.frame(longest=400) for _ in range(16)]
        assert await echo(bench, nic, frames, batch=8) == frames
        sizes = bench.host.core.statistics.read_sizes["table"]
        assert sizes and max(sizes) <= bench.manifest["parameters"]["read_bytes"]
    return run


tables_of_1 = tables_of(1)
tables_of_2 = tables_of(2)
tables_of_3 = tables_of(3)
tables_of_17 = tables_of(17)
tables_of_33 = tables_of(33)
tables_of_40 = tables_of(40)


def ring_of(size, simulators=("verilator", "icarus"), **circumstances):
    @system_test("PKD-021", "PKD-022", "PKD-026", "PKD-028", "PKD-010", "PKD-011", timeout_us=12_000,
                 simulators=simulators, name=f"mixed_ring_of_{size}", **circumstances)
    async def run(bench):
        """Direct chains and tables by turns, both ways at once, through every wrap."""
        most = min(size, 20)
        nic = await bench.nic(queue_size=size, wanted=TABLES, buffer_slack=4096, receive_buffers=min(size, 24),
                              style=RingStyle(indirect="always"),
                              receive_framing=pieces(min(size, 3), first=12, step=9))
        mix(nic.transmitters[0].ring, bench.random)
        frames = [bench.frame(longest=300) for _ in range(24)]
        sent = [pieces(bench.random.randint(1, most)) for _ in frames]
        for first in range(0, len(frames), 8):
            for frame, framing in zip(frames[first:first + 8], sent[first:first + 8]):
                await nic.send(frame, framing=framing)
                assert await bench.wire() == frame
        assert await echo(bench, nic, frames, framing=pieces(min(size, 2)), batch=max(1, min(8, size // 2))) == frames
    return run


mixed_ring_of_1 = ring_of(1)
mixed_ring_of_2 = ring_of(2)
mixed_ring_of_3 = ring_of(3)
mixed_ring_of_7 = ring_of(7)
mixed_ring_of_256 = ring_of(256, simulators=("verilator",), presets=("tiny", "default"))


@system_test("PKD-021", "PKD-028", "BAS-005", "BAS-006", timeout_us=12_000)
async def tables_that_break_the_queue(bench):
    """No element, a part of one, more than the ring has, and a table in a list linked by NEXT: nothing is sent."""
    for lengths in ([0], [24], [16 * 17], [16, 16]):
        nic = await bench.nic(queue_size=16, wanted=TABLES, style=RingStyle(indirect="never"))
        post(nic, bench.random.randbytes(sum(lengths)), lengths, flags=INDIRECT)
        await breaks(bench, nic, f"table of {lengths}")
