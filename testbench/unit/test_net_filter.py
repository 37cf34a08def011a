"""Receive filtering against the model: any state, any frame, a frame every cycle while states change."""

import random

import pytest
from amaranth.sim import Simulator

from hdl.net.filter import ReceiveFilter
from hdl.net.filter_addresses import WAYS
from model import formats
from model.filter import MAC_ENTRIES
from model.filter import ReceiveFilter as FilterModel
from model.formats import Feature, RxCommand
from testbench.unit.headers import headers_of

WATCHED = ("destination_mac", "tags", "customer_tag", "outer_tag")
MODES = ("promiscuous", "all_multicast", "all_unicast", "no_multicast", "no_unicast", "no_broadcast")
OWN = bytes.fromhex("020000000001")


def set_of(address):
    """The set of an address in the card's table, so that it is known which sets have overflowed."""
    parts = [((byte << n | byte >> (8 - n)) & 0xff) for n, byte in enumerate(address)]
    result = 0
    for part in parts:
        result ^= part
    return result


class FilterBench:
    """The filter and its model side by side; every cycle brings a frame, and is checked.

    Parameters
    ----------
    features : negotiated, a mask
    """

    def __init__(self, seed, features):
        self.rng = random.Random(seed)
        self.seed = seed
        self.dut = ReceiveFilter()
        self.features = features
        self.model = FilterModel(features, OWN)
        self.table, self.overfull = [], set()
        self.pool = [self.address(kind) for kind in (0, 1) * 40]
        self.frames, self.passed, self.loose = 0, 0, 0
        self.touched = [0]          # VLANs added or taken away lately

    def address(self, group=None):
        first = self.rng.randrange(256)
        return bytes([first if group is None else first & ~1 | group]) + self.rng.randbytes(5)

    def frame(self):
        rng = self.rng
        destination = rng.choice([rng.choice(self.pool), rng.choice(self.table or self.pool), OWN, b"\xff" * 6,
                                  self.model.mac, self.address()])
        vlan = rng.choice([rng.choice(self.touched), rng.randrange(4096)])
        tag = rng.choice([b"", b"", b"\x81\x00", b"\x81\x00", b"\x88\xa8"])
        if tag:
            tag += (vlan | rng.randrange(16) << 12).to_bytes(2, "big")
            if rng.random() < 0.3:
                tag += b"\x81\x00" + rng.randbytes(2)
        return destination + rng.randbytes(6) + tag + b"\x08\x06" + bytes(46)

    async def cycle(self, ctx):
        """A frame, judged by what is set now; the one of the cycle before is checked."""
        frame = self.frame()
        headers = headers_of(frame)
        ctx.set(self.dut.headers, {name: headers.get(name, 0) for name in WATCHED})
        wanted, loose = self.model.wants(frame), set_of(frame[:6]) in self.overfull
        await ctx.tick()
        unwanted = ctx.get(self.dut.unwanted)
        self.frames += 1
        self.passed += not unwanted
        if loose and not unwanted:
            self.loose += not wanted
        else:
            assert unwanted == (not wanted), f"{frame[:20].hex()} (seed {self.seed}, frame {self.frames})"

    async def set_table(self, ctx, unicast, multicast):
        """As the control queue does it, slowly; in between, the old table holds."""
        dut, rng = self.dut, self.rng
        kinds = [kind if len(kind) <= MAC_ENTRIES else [] for kind in (unicast, multicast)]
        ctx.set(dut.port.begin, 1)
        await self.cycle(ctx)
        ctx.set(dut.port.begin, 0)
        for address in (*kinds[0], *kinds[1]):
            while rng.random() < 0.3:
                await self.cycle(ctx)
            ctx.set(dut.port.addresses.payload, int.from_bytes(address, "little"))
            ctx.set(dut.port.addresses.valid, 1)
            taken = False
            while not taken:
                taken = ctx.get(dut.port.addresses.ready)
                await self.cycle(ctx)
            ctx.set(dut.port.addresses.valid, 0)
        while not ctx.get(dut.port.addresses.ready):
            await self.cycle(ctx)
        ctx.set(dut.port.commit, 1)
        ctx.set(dut.port.too_many, (len(unicast) > MAC_ENTRIES) | (len(multicast) > MAC_ENTRIES) << 1)
        await self.cycle(ctx)
        ctx.set(dut.port.commit, 0)
        ctx.set(dut.port.too_many, rng.randrange(4))
        self.model.set_addresses(unicast, multicast)
        self.table = [*kinds[0], *kinds[1]]
        sets = [set_of(address) for address in self.table]
        self.overfull = {place for place in sets if sets.count(place) > WAYS}

    async def change_vlan(self, ctx, vlan, add):
        ctx.set(self.dut.port.vlan, {"valid": 1, "add": add, "vlan": vlan})
        await self.cycle(ctx)
        ctx.set(self.dut.port.vlan.valid, 0)
        (self.model.vlans.add if add else self.model.vlans.discard)(vlan)
        self.touched = [*self.touched[-9:], vlan]

    def set_modes(self, ctx, modes):
        ctx.set(self.dut.port.modes, {name: int(RxCommand(n) in modes) for n, name in enumerate(MODES)})
        self.model.modes = set(modes)

    def set_mac(self, ctx, mac):
        ctx.set(self.dut.mac, int.from_bytes(mac, "little"))
        self.model.mac = mac

    async def start(self, ctx):
        ctx.set(self.dut.by_address, formats.has_feature(self.features, Feature.NET_CTRL_RX))
        ctx.set(self.dut.by_vlan, formats.has_feature(self.features, Feature.NET_CTRL_VLAN))
        self.set_mac(ctx, OWN)
        while ctx.get(self.dut.clearing):
            await ctx.tick()

    async def clear(self, ctx):
        ctx.set(self.dut.clear, 1)
        await self.cycle(ctx)
        ctx.set(self.dut.clear, 0)
        self.model = FilterModel(self.features, OWN)
        self.table, self.overfull = [], set()
        self.set_mac(ctx, OWN)
        self.set_modes(ctx, ())
        assert ctx.get(self.dut.clearing)
        while ctx.get(self.dut.clearing):
            await ctx.tick()

    def run(self, body):
        async def all_of_it(ctx):
            await self.start(ctx)
            await body(ctx)
        simulator = Simulator(self.dut)
        simulator.add_clock(4e-9)
        simulator.add_testbench(all_of_it)
        simulator.run()


ALL = formats.FILTER_FEATURES
WITHOUT = {"all": 0, "no CTRL_RX": formats.feature_set(Feature.NET_CTRL_RX),
           "no CTRL_VLAN": formats.feature_set(Feature.NET_CTRL_VLAN)}


@pytest.mark.requirements("NET-121", "NET-122", "NET-124", "NET-126", "NET-128", "NET-129", "NET-130", "NET-132",
                          "NET-133", "NET-135", "NET-136", "NET-137", "NET-140", "NET-142", "NET-145", "NET-146",
                          "NET-147", "NET-148")
@pytest.mark.parametrize("missing", WITHOUT)
def test_random_states(missing):
    """Modes, tables, VLANs and the card's address change at any time; 3,000 frames and more."""
    seed = len(missing)
    print("seed", seed)
    bench = FilterBench(seed, ALL & ~WITHOUT[missing])
    rng = bench.rng

    async def body(ctx):
        for _ in range(20):
            await bench.cycle(ctx)
        for _ in range(50):
            match rng.randrange(7):
                case 0 | 1:
                    bench.set_modes(ctx, [mode for mode in RxCommand if rng.random() < 0.25])
                case 2:
                    counts = [rng.choice([0, 1, 3, 30, 64, 65]) for _ in range(2)]
                    addresses = [[rng.choice([bench.address(kind), rng.choice(bench.pool)]) for _ in range(count)]
                                 for kind, count in enumerate(counts)]
                    await bench.set_table(ctx, *addresses)
                case 3 | 4:
                    for _ in range(rng.randrange(30)):
                        vlan = rng.choice([rng.randrange(4096), rng.choice(bench.touched), 0, 4095])
                        await bench.change_vlan(ctx, vlan, rng.random() < 0.6)
                case 5:
                    bench.set_mac(ctx, rng.choice([OWN, bench.address(0), rng.choice(bench.pool)]))
                case 6 if rng.random() < 0.3:
                    await bench.clear(ctx)
            for _ in range(60):
                await bench.cycle(ctx)
    bench.run(body)
    print(f"{bench.frames} frames, {bench.passed} passed, {bench.loose} of them for want of room")
    assert bench.frames >= 3000 and bench.passed > bench.frames // 10


@pytest.mark.requirements("NET-137", "NET-140", "NET-142")
def test_tables_one_after_the_other():
    """Nothing is left of a table, begun or finished, in the next one; a set with too many takes all of its own."""
    bench = FilterBench(3, ALL)
    base = bench.address(0)

    def same_set(count):
        found = []
        while len(found) < count:
            address = bench.address(0)
            if set_of(address) == set_of(base):
                found.append(address)
        return found

    async def body(ctx):
        *crowd, stranger = same_set(WAYS + 3)
        bench.pool += [*crowd, stranger] * 5
        for table in (crowd[:WAYS], crowd, crowd[:1], []):
            await bench.set_table(ctx, table, [])
            for _ in range(150):
                await bench.cycle(ctx)
        await bench.set_table(ctx, crowd[:2], [])
        dut = bench.dut
        ctx.set(dut.port.begin, 1)
        await bench.cycle(ctx)
        ctx.set(dut.port.begin, 0)
        ctx.set(dut.port.addresses.payload, int.from_bytes(crowd[3], "little"))
        ctx.set(dut.port.addresses.valid, 1)
        for _ in range(300):
            await bench.cycle(ctx)
        ctx.set(dut.port.addresses.valid, 0)
        await bench.set_table(ctx, crowd[4:5], [])
        for _ in range(150):
            await bench.cycle(ctx)
    bench.run(body)
    assert bench.loose > 0
