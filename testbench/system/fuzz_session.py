"""A driver's life on the card and on its functional twin at once: what it negotiates, and how both are compared."""

from collections import Counter

from model import formats
from model.formats import Feature
from testbench.driver.options import REQUIRED
from testbench.driver.ring import RingStyle
from testbench.system.feature_cover import FEATURES
from testbench.system.fuzz_twin import Twin

__all__ = ["Disagreement", "Session", "draw_features"]


TIMED = {"tx_notifications", "tx_interrupts"}
STILL_NS = 200_000      # in which another buffer comes back
POLL_NS = 500
WIRE_NS = 5_000         # in which another frame leaves, if there is one


class Disagreement(AssertionError):
    """Card and model differ; the message is one line."""


def draw_features(rng, likely):
    """A mask of features that a driver may accept; those of `likely` more often than not."""
    accepted = REQUIRED | formats.feature_set(
        *(feature for feature in FEATURES if rng.random() < (0.75 if feature in likely else 0.5)))
    while lacking := formats.lacking_prerequisites(accepted):
        accepted &= ~formats.feature_set(*lacking)
    return accepted


def draw_style(rng):
    return RingStyle(set_bits_on_all=rng.random() < 0.5, set_id_on_all=rng.random() < 0.5,
                     indirect=rng.choice(("several", "always", "never")), table_offset=rng.choice((0, 8)),
                     set_write_on_table=rng.random() < 0.5)


class Session:
    """What sessions in both directions share.

    Parameters
    ----------
    bench : Bench
    mtu : bytes, that the card has
    rng : random.Random
    first : number of the session's first item
    count : of its items
    flip : number of the item of which something else is expected than the model says, or None: to see it noticed

    Attributes
    ----------
    number : of the next item
    tally : Counter of what became of items, by the names of the card's counters, and of what else is worth telling
    counted : names of the card's counters that are compared
    """
    counted = ()

    def __init__(self, bench, mtu, rng, first, count, flip=None):
        self.number, self.end = first, first + count
        self.tally = Counter()
        self._bench, self._mtu, self._rng, self._flip = bench, mtu, rng, flip

    def has(self, feature):
        return formats.has_feature(self._features, feature)

    async def start(self, features, **options):
        """Bring up both; `options` for both drivers."""
        bench, rng = self._bench, self._rng
        self._features = features
        several = self.has(Feature.NET_MQ) or self.has(Feature.NET_RSS) or not self.has(Feature.NET_CTRL_VQ)
        options = {
            "wanted": features, "pairs": rng.randint(1, bench.parameter("pairs")) if several else 1,
            "style": draw_style(rng), "buffer_align": rng.choice((1, 2, 64, 4096)), "refill_batch": 1,
            "max_payload": rng.choice((128, 256)), "max_read_request": rng.choice((128, 256, 512)),
            "extended_tags": rng.random() < 0.5, **options}
        bench.mac.set_rate(rng.choice((None, None, 10)))
        self.twin = Twin(bench, self._mtu, **options)
        await self.twin.nic.start()
        self.nic = await bench.nic(**options)
        self.agree("features", self.twin.nic.virtio.features, self.nic.virtio.features)
        self.agree("address", self.twin.nic.mac, self.nic.mac)
        self._before = await self.counters()
        bench.mac.captured.clear()
        bench.forget_wire()

    async def stop(self):
        """Reset both. Nothing of the memory is left to either."""
        await self.nic.stop()
        await self.twin.nic.stop()
        for name, memory in (("card", self._bench.memory), ("model", self.twin.card.memory)):
            if memory._grants:
                raise Disagreement(f"the {name} keeps {len(memory._grants)} pieces of memory after its reset")

    def agree(self, what, expected, seen):
        if expected != seen:
            raise Disagreement(f"{what}: expected {show(expected)}, seen {show(seen)}")

    async def both(self, action, what):
        """Have `action(nic)`, a coroutine, done on both, with the same answer."""
        expected = await action(self.twin.nic)
        self.agree(what, expected, await action(self.nic))

    async def settle(self):
        """Until all that was asked for has had its consequences. A read does not overtake doorbells on their way."""
        await self.nic.virtio.status()
        await self._bench.settle()

    async def leave(self, count):
        """Until `count` frames have left; a card that is idle may still have some for a slow wire."""
        left = None
        while len(self._bench.mac.captured) < count and left != (left := len(self._bench.mac.captured)):
            await self._bench.platform.sleep(WIRE_NS)

    async def gather(self, sources, complete):
        """What `sources`, coroutine functions, give, a list for each, until `complete(lists)` or nothing comes any
        more: though the card looks idle some may still be on its way."""
        platform = self._bench.platform
        found, last = [[] for _ in sources], platform.now()
        while True:
            for items, source in zip(found, sources):
                if more := await source():
                    items += more
                    last = platform.now()
            if complete(found) or platform.now() - last >= STILL_NS:
                return found
            await platform.sleep(POLL_NS)

    async def check_statistics(self, kinds, direction, names=None, without=()):
        """That both have counted the same of each queue, but for those of the pairs `without`: `names`, or all that
        time has no part in. `kinds` are `StatisticType`s, `direction` is 0 or 1 as in the last bit of an index."""
        if not (self.has(Feature.NET_DEVICE_STATS) and self.has(Feature.NET_CTRL_VQ)):
            return
        known = await self.nic.control.statistic_types()
        wanted = {2 * pair + direction: [kind for kind in kinds if kind in known]
                  for pair in range(len(self.nic.receivers)) if pair not in without}
        if not wanted:
            return
        expected, seen = [await nic.control.statistics(wanted) for nic in (self.twin.nic, self.nic)]
        for index, counts in expected.items():
            for name in names or counts.keys() - TIMED:
                self.agree(f"{name} of queue {index} before item {self.number}", counts[name], seen[index][name])

    async def counters(self):
        """The low halves of the card's counters, by name."""
        bench = self._bench
        reads = {name: bench.platform.spawn(bench.host.mmio_read(bench.counter_address(name), 4))
                 for name in self.counted}
        return {name: await read for name, read in reads.items()}

    async def miscounted(self, expected):
        """What the card has counted since the last time, where that is not `expected`, {name: count}; "" if all is."""
        now = await self.counters()
        seen = {name: now[name] - before & 0xffff_ffff for name, before in self._before.items()}
        self._before = now
        return ", ".join(f"{name} counts {count}, expected {expected.get(name, 0)}" for name, count in seen.items()
                         if count != expected.get(name, 0))

    def check_counters(self, wrong, what):
        """`wrong` is what `miscounted` returned."""
        if wrong:
            raise Disagreement(f"{what}: {wrong}")


def show(value):
    if isinstance(value, list):
        return f"[{', '.join(map(show, value))}]"
    return value.hex() if isinstance(value, bytes) else repr(value)
