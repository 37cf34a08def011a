"""A bench for the read engine: clients on one side, a host with all its whims on the other.

What the host holds at an address is a function of the address, so a transaction's bytes are known without a memory
image. Transaction n reads from addresses n << 20 on, which is how a request is known to belong to it.
"""

import random

from testbench.unit.bench import StreamBench
from testbench.unit.read_host import STATUS, Completer, Fault, Request, host_bytes

__all__ = ["CLIENT_NUMBER", "ReadBench", "random_traffic"]


CLIENT_NUMBER = {"fetch_rx": 0, "fetch_tx": 1, "event_rx": 2, "event_tx": 3, "data_tx": 4, "table_rx": 5, "table_tx": 6,
                 "control": 7}


class Transaction:
    """What was asked for, to be compared with what is delivered."""

    def __init__(self, number, client, queue, pieces, context):
        self.number = number
        self.client = client
        self.queue = queue
        self.pieces = pieces
        self.context = context
        self.status = 0         # worst, as the host knows
        self.may_fail = False   # it may also be DISCARDED
        self.delivered_at = None
        self.beats = []
        self.bytes = sum(length for _, length in pieces)

    def expected(self):
        return b"".join(host_bytes(address, length) for address, length in self.pieces)


class ReadBench:
    """An engine with a host and clients.

    Parameters
    ----------
    engine : ReadEngine
    seed : int
    latency : function(rng, request) -> cycles to the first completion
    rcb : bytes at whose multiples completions may be cut, or None: cut at 256 only
    fault : function(rng, request) -> kind or None
    mrrs, extended, timeout : settings of the function; timeout None: disabled
    stall, gap, requests_stall : how often clients, completions and `requests.ready` pause
    early : the clients don't wait until the engine is initialised
    shuffle : how often the next completion is not the one that has been due for longest
    """

    def __init__(self, engine, *, seed=1, limit=20_000, latency=None, rcb=64, fault=None, mrrs=2, extended=1,
                 timeout=None, stall=0.0, gap=0.0, requests_stall=0.0, shuffle=0.5, early=False):
        self.engine = engine
        self.config = engine.config
        self.bench = StreamBench(engine, seed=seed, limit=limit)
        self.rng = random.Random(seed)
        self.latency = latency or (lambda rng, request: rng.randrange(5, 120))
        self.early = early
        self.fault, self.gap, self.requests_stall, self.shuffle = fault, gap, requests_stall, shuffle
        self.mrrs, self.extended, self.timeout, self.stall = mrrs, extended, timeout, stall
        self.largest = min(self.config.read_bytes, 128 << mrrs)
        self.completer = Completer(self.rng, rcb, self.config.bytes_per_beat)
        self.transactions = {}
        self.cycle = 0
        self.requests = []
        self.in_flight = {}        # tag -> Request
        self.sent_peak = 0
        self.events = {name: 0 for name in ("unexpected_completion", "timeout_error", "poisoned_completion",
                                            "unsupported_received", "abort_received")}
        self.held = set()          # transactions whose completions are withheld
        self.replies = []          # [due, order, beats]
        self.rooms = dict.fromkeys(CLIENT_NUMBER, 1)
        self.drop_requests = False
        self.discard = 0
        self.open = {}             # (client, queue) -> transactions not delivered
        self.delivered = []
        self.outstanding = self.quarantined = 0
        self.last_rc = {}          # transaction -> cycle of its last completion beat
        self.asked_at = {}
        self.request_at = {}
        self.script = []           # functions called each cycle with the bench
        self._queues = {name: [] for name in CLIENT_NUMBER}
        self._next = 1

    # Clients

    def ask(self, client, queue, lengths, *, offsets=None, more=0, high=None):
        """Queue one transaction of pieces of the given `lengths`; returns it."""
        number = self._next
        self._next += 1
        base = number << 20 | ((self.rng.randrange(2) if high is None else high) << 40)
        pieces, at = [], 0
        for n, length in enumerate(lengths):
            offset = self.rng.randrange(4096) if offsets is None else offsets[n]
            pieces.append((base + at + offset, length))
            at += -(-(offset + length) // 4096) * 4096
            assert at < 1 << 20
        context = self.rng.getrandbits(64)
        transaction = Transaction(number, client, queue, pieces, context)
        self.transactions[number] = transaction
        self.open.setdefault((client, queue), []).append(transaction)
        for n, (address, length) in enumerate(pieces):
            last = n == len(pieces) - 1
            self._queues[client].append((transaction, {
                "client": 7, "function": 0, "queue": queue, "address": address, "length": length, "last": last,
                "more": more and last, "context": context if last else ~context & (1 << 64) - 1}))
        return transaction

    def _serve(self, client):
        port = getattr(self.engine, client)
        rng = random.Random(self.rng.random())

        async def drive(ctx):
            if not self.early:
                await ctx.tick().until(self.engine.idle)
            while True:
                if not self._queues[client] or rng.random() < self.stall:
                    await ctx.tick()
                    continue
                transaction, command = self._queues[client].pop(0)
                # The host, which counts the cycles, runs after this.
                self.asked_at.setdefault(transaction.number, self.cycle + 1)
                ctx.set(port.payload, {**command, "client": CLIENT_NUMBER[client]})
                ctx.set(port.valid, 1)
                await ctx.tick().until(port.ready)
                ctx.set(port.valid, 0)
        self.bench.process(drive, wait=False)

    def _collect(self, client):
        port = getattr(self.engine, f"o_{client}")
        room = getattr(self.engine, f"room_{client}")
        rng = random.Random(self.rng.random())
        full = self.config.bytes_per_beat

        async def collect(ctx):
            current = []
            while True:
                ready = rng.random() >= self.stall
                ctx.set(port.ready, ready)
                ctx.set(room, self.rooms[client])
                _, _, valid, beat = await ctx.tick().sample(port.valid, port.payload)
                if not (valid and ready):
                    continue
                assert beat.first == (not current)
                assert beat.client.value == CLIENT_NUMBER[client]
                if not current:
                    key = (client, int(beat.queue))
                    assert self.open.get(key), f"{key}: delivered without being asked for"
                    transaction = self.open[key].pop(0)
                    transaction.first_at = self.cycle
                assert int(beat.queue) == transaction.queue
                assert beat.context == transaction.context, f"{transaction.number}: another transaction's context"
                current.append(int(beat.data).to_bytes(full, "little")[:beat.bytes])
                if not beat.last:
                    assert beat.bytes == full
                    continue
                assert 0 < beat.bytes or len(current) == 1 and not transaction.bytes
                got = b"".join(current)
                assert len(got) == transaction.bytes, f"{len(got)} bytes of {transaction.bytes}"
                transaction.ended = beat.status.value
                if not (transaction.may_fail and transaction.ended == STATUS["discarded"]):
                    assert transaction.ended == transaction.status, (
                        f"transaction {transaction.number}: status {beat.status}, should be {transaction.status}")
                if not transaction.ended:
                    assert got == transaction.expected(), f"transaction {transaction.number}: wrong bytes"
                transaction.behind = int(beat.behind)
                transaction.delivered_at = self.cycle
                self.delivered.append(transaction)
                current = []
        self.bench.process(collect, wait=False)

    # Host

    def transaction_of(self, request):
        return self.transactions[request.address >> 20 & 0xfffff]

    def _accept(self, header):
        request = Request(header, self.largest)
        transaction = self.transaction_of(request)
        assert any(address <= request.address and request.address + request.length <= address + length
                   for address, length in transaction.pieces), "nobody asked for this address"
        assert request.tag < (self.config.tags if self.extended else 32)
        assert request.tag not in self.in_flight, f"tag {request.tag} is in use"
        self.request_at.setdefault(transaction.number, self.cycle)
        self.requests.append(request)
        self.in_flight[request.tag] = request
        self.sent_peak = max(self.sent_peak, len(self.in_flight))
        request.order = len(self.requests)
        kind = "dropped" if self.drop_requests else self.fault and self.fault(self.rng, request)
        if kind:
            transaction.status = max(transaction.status, Fault(kind).status)
        if kind == "dropped":
            del self.in_flight[request.tag]
            self._dropped.append(request.tag)
        elif kind != "never":
            due = self.cycle + self.latency(self.rng, request) + (3000 if kind == "late" else 0)
            self.replies.append([due, request, self.completer.completions(request, kind)])

    def _next_reply(self):
        """A completion that is due: the oldest of some tag."""
        due = [reply for reply in self.replies
               if reply[0] <= self.cycle and not (reply[1] and self.transaction_of(reply[1]).number in self.held)]
        if not due:
            return None
        reply = due[0] if self.rng.random() >= self.shuffle else self.rng.choice(due)
        beats = reply[2].pop(0)
        if not reply[2]:
            self.replies.remove(reply)
            if reply[1]:
                self.last_rc[self.transaction_of(reply[1]).number] = self.cycle + len(beats) - 1
                self.in_flight.pop(reply[1].tag, None)
        return beats

    async def _host(self, ctx):
        engine = self.engine
        ctx.set(engine.max_read_request, self.mrrs)
        ctx.set(engine.extended_tag_enable, self.extended)
        ctx.set(engine.completion_timeout, self.timeout or 0)
        ctx.set(engine.completion_timeout_disable, self.timeout is None)
        self._dropped = []
        coming = []
        offered = None
        samples = [engine.requests.valid, engine.requests.payload, engine.rc.ready, engine.outstanding,
                   engine.quarantined, *(getattr(engine, name) for name in self.events)]
        while True:
            for step in list(self.script):
                step(self)
            ctx.set(engine.discard, self.discard)
            ready = self.rng.random() >= self.requests_stall
            ctx.set(engine.requests.ready, ready)
            if not coming:
                coming = self._next_reply() or []
            sends = bool(coming) and self.rng.random() >= self.gap
            ctx.set(engine.rc.valid, sends)
            if sends:
                ctx.set(engine.rc.payload, coming[0])
                coming = coming[1:]
            ctx.set(engine.dropped.valid, bool(self._dropped))
            if self._dropped:
                ctx.set(engine.dropped.payload, self._dropped.pop(0))
            _, _, valid, beat, rc_ready, self.outstanding, self.quarantined, *events = (
                await ctx.tick().sample(*samples))
            assert rc_ready
            for name, event in zip(self.events, events):
                self.events[name] += event
            if offered is not None:
                assert valid and beat.header == offered, "a request changed before its transfer"
            offered = beat.header if valid and not ready else None
            if valid and ready:
                assert beat.first and beat.last and not beat.keep
                self._accept(beat.header)
            self.cycle += 1

    # Run

    def run(self, *, until=None, check=True):
        """Run until `until(self)` or everything asked for is delivered; then, with `check`, that no tag is lost."""
        until = until or (lambda self: len(self.delivered) == len(self.transactions))
        for client in CLIENT_NUMBER:
            self._serve(client)
            self._collect(client)
        self.bench.process(self._host, name="host", wait=False)

        async def supervise(ctx):
            await ctx.tick().until(self.engine.idle)
            while not until(self):
                await ctx.tick()
            if check:
                await self._check(ctx)
        self.bench.process(supervise, name="everything delivered")
        self.bench.run(settle=1)

    async def _check(self, ctx):
        """All quiet; then take every tag that may be taken, at once."""
        await ctx.tick().until(self.engine.idle)
        while self.replies:
            await ctx.tick()
        await ctx.tick().repeat(4)
        assert self.outstanding == 0
        usable = (self.config.tags if self.extended else min(32, self.config.tags)) - self.quarantined
        reserved = min(self.config.reserved_tags, self.config.reserved_tags if self.extended and
                       self.config.tags > 32 else 8)
        self.script.clear()
        self.latency, self.fault, self.drop_requests, self.discard = (lambda rng, request: 40), None, False, 0
        self.rooms = dict.fromkeys(CLIENT_NUMBER, 1)
        before = set(self.transactions)
        for n in range(usable):
            self.ask("data_tx", n % self.config.pairs, [64], offsets=[0])
        self.held = set(self.transactions) - before
        await ctx.tick().repeat(3 * usable + 40)
        assert self.outstanding == usable - reserved, f"data took {self.outstanding} of {usable} tags"
        for _ in range(reserved):
            self.ask("fetch_rx", 0, [64], offsets=[0])
        self.held = set(self.transactions) - before
        await ctx.tick().repeat(3 * reserved + 40)
        assert self.outstanding == usable, f"only {self.outstanding} of {usable} tags could be taken"
        self.held = set()
        while len(self.delivered) < len(self.transactions):
            await ctx.tick()
        await ctx.tick().until(self.engine.idle)


def random_traffic(bench, count, *, largest, seed):
    """Ask for `count` transactions of all clients; data in up to 4 pieces of less than `largest` bytes."""
    rng = random.Random(seed)
    config = bench.config
    for _ in range(count):
        client = rng.choice(["fetch_rx", "fetch_tx", "event_rx", "event_tx", "table_rx", "table_tx",
                             *["data_tx"] * 4])
        queue = rng.randrange(config.pairs)
        if client.startswith("fetch"):
            bench.ask(client, queue, [16 * rng.randrange(1, config.fetch_batch + 1)], offsets=[16 * rng.randrange(256)])
        elif client.startswith("event"):
            bench.ask(client, queue, [4], offsets=[4 * rng.randrange(1024)])
        elif client.startswith("table"):
            bench.ask(client, queue, [16 * rng.randrange(1, config.read_bytes // 16 + 1)])
        else:
            pieces = [rng.choice([0, 1, 3, 12, 64, 72, rng.randrange(300), rng.randrange(largest)])
                      for _ in range(rng.choice([1, 1, 1, 2, 4]))]
            bench.ask(client, queue, pieces)
