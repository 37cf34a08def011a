"""When each packet reaches each stage: both directions' pipelines, worked out block by block."""

import numpy as np

from .scan import serve
from .side import PAD, Side

__all__ = ["PARSED", "Receiver", "Transmitter"]

PARSED = 128        # bytes of a frame after which its headers are known; a shorter one waits for them


class Transmitter(Side):
    """From doorbell to wire.

    `feedback` of "both": the receiver, which `Pattern` keeps within reach.
    """

    def __init__(self, batch):
        super().__init__(batch, "tx")
        self.feedback = None
        self._pace = batch.offered(self.queue, self.place)
        self._delivered, self._wire = (np.zeros((self.count, batch.packets + PAD)) for _ in range(2))
        self._drain = np.zeros((self.count, batch.queues))
        self._nominal_drain, self._down_free, self._issue_free, self._wire_free = (np.zeros(self.count)
                                                                                     for _ in range(4))

    def step(self, n):
        batch, c = self.batch, self.batch.constants
        _, _, at, padded = self.block(n)
        walked = self.walk(n, self.take(n, self.fetch(n)), np.where(batch.indirect, 2.0, 1.0) * c["walk_tx"])
        delivered = self._read(n, walked)
        beats = batch.costs.frame_beats[:, at]
        # A lone packet of many rows takes a little longer than a row a cycle.
        left = delivered + c["data_wire"] - 1 + (c.cycles["data_wire"][1] - 1) * batch.costs.rows[:, at]
        wire = serve(left, beats, self._wire_free)
        self._wire_free = wire[:, -1]
        self._wire[:, padded] = wire
        self.times["first_beat"][:, at] = wire - beats + 1
        self.times["last_beat"][:, at] = wire
        done = delivered + c["data_used"]
        self.use(n, self.times["data_issued"][:, at], done, done + self.up.wait(done[:, -1:]))

    def wire(self, queue, place):
        return self.look(self._wire, queue, place)

    def posted_at(self, rows, queue, place):
        """When the driver makes packets available, in some scenarios: whole bursts, as soon as there is room for
        one."""
        batch = self.batch
        doorbell = batch.doorbell[rows]
        begins = place // doorbell * doorbell
        posted = self.seen(queue, begins + doorbell - 1 - batch.ring[rows], rows)
        at = np.minimum(self.index(queue, place) - PAD, batch.packets - 1)
        posted = np.maximum(posted, self._pace[rows[:, None], at])
        if self.feedback is not None:
            back = np.minimum(begins - batch.lead[rows] - 1, place[:, :1] - 1)
            posted = np.maximum(posted, np.where(batch.saturated[rows], self.feedback.seen(queue, back, rows), 0.0))
        self.offered[rows[:, None], at] = posted
        return posted

    def _read(self, n, walked):
        """Data of the packets of block `n`: tags, the link's turn, delivery in order."""
        batch, c, costs = self.batch, self.batch.constants, self.batch.costs
        queues, _, at, padded = self.block(n)
        requests = costs.requests[:, at]
        # Of several reads of a packet the last, and the first one.
        number = np.arange(at.start, at.stop) - batch.tag_window
        free, free_first = self._freed(number), self._freed(number - 1 + 1 / requests)
        service = np.where(batch.tx_waits, np.maximum(batch.rq[:, at], batch.up[:, at]), requests)
        service = service + batch.tx_waits * (self.more + (self.feedback.more if self.feedback else 0.0))
        issue = serve(np.maximum(walked, free + 6) - service + requests - 1, service, self._issue_free)
        first = np.maximum(np.maximum(walked, free_first + 6), np.c_[self._issue_free, issue[:, :-1]])
        self._issue_free = issue[:, -1]
        size = np.minimum(costs.read, costs.lengths[:, at] + 12)
        extra = np.maximum(0, size - 64) * batch.per_byte
        wait = self.up.wait(issue[:, :1])
        sent = issue + wait
        turn = np.maximum(batch.down[:, at], batch.rc[:, at])
        nominal = np.maximum(np.minimum(first + wait, sent), sent - turn * (1 - 1 / requests)) + batch.nominal
        carried = serve(nominal, turn, self._down_free)
        self._down_free = carried[:, -1]
        # What the read window doesn't let be asked for waits in the card, where it is in nobody's way.
        held = np.maximum(0.0, carried - nominal - batch.line)
        self.down.note(nominal + held, carried)
        tail = np.minimum(turn, (costs.mps + 20) / batch.link)
        drawn = sent + batch.trips["data tx"][:, at] + extra
        beats = -(-np.minimum(size, costs.mps) // costs.beat)
        there = np.maximum(carried - tail, drawn) + c["answer"] + beats - 1
        rows = costs.rows[:, at]
        # A long packet is read in parts, and each leaves when it is there.
        parts = -(-requests // batch.part_requests)
        delivered = self._in_order(queues, there - rows * (1 - 1 / parts), carried, rows)
        self._delivered[:, padded] = delivered
        self.times["data_issued"][:, at] = issue + held
        self.times["data_there"][:, at] = there
        return delivered

    def _freed(self, number):
        """When tags were free again up to packet `number`, not a whole one."""
        number = np.maximum(number + PAD, 0)
        before = number.astype(int)
        earlier, later = self._delivered[self._row, before], self._delivered[self._row, before + 1]
        return earlier + (number - before) * (later - earlier)

    def _in_order(self, queues, there, carried, rows):
        """When packets are delivered: those of a queue in order, all of them row by row."""
        delivered = np.empty_like(there)
        for q in set(queues):
            mine = np.nonzero(queues == q)[0]
            delivered[:, mine] = serve(there[:, mine], rows[:, mine], self._drain[:, q])
        if self.batch.queues > 1:
            turns = serve(carried, rows, self._nominal_drain)
            self._nominal_drain = turns[:, -1]
            delivered = np.maximum(delivered, turns)
        for q in set(queues):
            self._drain[:, q] = delivered[:, np.nonzero(queues == q)[0][-1]]
        return delivered


class Receiver(Side):
    """From the wire to the driver."""

    def __init__(self, batch):
        super().__init__(batch, "rx")
        self.feedback = None
        self._pace = batch.offered(self.queue, self.place)
        self._wire_free, self._rq_free, self._link_free = (np.zeros(self.count) for _ in range(3))

    def step(self, n):
        batch, c, costs = self.batch, self.batch.constants, self.batch.costs
        q, p, at, _ = self.block(n)
        beats = costs.frame_beats[:, at]
        wire = serve(self._fed(n), beats, self._wire_free)
        self._wire_free = wire[:, -1]
        ready = self.take(n, self.fetch(n))
        write = costs.data_rq["rx"][:, at]
        came = wire + c["wire_write"] + c["parse"] * (costs.lengths[:, at] <= PARSED)
        service = np.where(batch.indirect, c["walk_rx_chain"], c["walk_rx"])
        walked = self.walk(n, np.maximum(came, ready), service)
        rq = np.where(batch.tx_waits, batch.rq_rx[:, at], batch.rq[:, at])
        rq = rq + self.more + (~batch.tx_waits * self.feedback.more if self.feedback else 0.0)
        offered = serve(walked + c.cycles["wire_write"][1] * write - rq, rq, self._rq_free)
        up = np.where(batch.tx_waits, batch.up_rx[:, at], batch.up[:, at])
        # The link carries a packet's first writes before its last one is there.
        writes = -(-(costs.lengths[:, at] + 12) // costs.mps)
        carried = serve(offered - np.minimum(write - 1, up * (1 - 1 / writes)), up, self._link_free)
        accepted = np.maximum(offered, carried - up - batch.waiting)
        self._rq_free, self._link_free = accepted[:, -1], carried[:, -1]
        self.up.note(accepted, carried)
        self.times["first_beat"][:, at] = wire - beats + 1
        self.times["last_beat"][:, at] = wire
        self.times["data_issued"][:, at] = accepted
        self.times["data_there"][:, at] = carried
        self.use(n, wire, accepted + c["write_used"], carried)

    def posted_at(self, rows, queue, place):
        """When the driver gives buffers back, so many at a time, in some scenarios."""
        batch = self.batch
        returned, refill = place - batch.ring[rows], batch.refill[rows]
        returned = np.where(returned < 0, -PAD, (returned // refill + 1) * refill - 1)
        return self.seen(queue, np.minimum(returned, place[:, :1] - 1), rows)

    def _fed(self, n):
        """When frames are given to the wire."""
        batch = self.batch
        queues, places, at, _ = self.block(n)
        fed = np.where(batch.saturated, self.seen(queues, places - batch.most), self._pace[:, at])
        if self.feedback is not None:
            fed = np.maximum(fed, np.where(batch.saturated, self.feedback.wire(queues, places - batch.ahead), 0.0))
        self.offered[:, at] = fed
        return fed
