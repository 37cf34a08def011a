"""When each packet reaches each stage: both directions' pipelines, worked out block by block."""

import numpy as np

from .scan import serve
from .side import PAD, Side

__all__ = ["Receiver", "Transmitter"]

PARSED = 128        # bytes of a frame after which its headers are known; a shorter one waits for them


class Transmitter(Side):
    """From doorbell to wire.

    `feedback` of "both": the receiver, which `Pattern` keeps within reach.
    """

    def __init__(self, batch):
        super().__init__(batch, "tx")
        self.feedback = None
        self._delivered = np.zeros((self.count, batch.packets + PAD))
        self.wire = np.zeros_like(self.seen)
        self._drain = np.zeros((self.count, batch.queues))
        self._nominal_drain, self._down_free, self._issue_free, self._wire_free = (np.zeros(self.count)
                                                                                     for _ in range(4))

    def step(self, n):
        batch, c = self.batch, self.batch.constants
        q, p, own, overall = self.place(n)
        walked = self.walk(n, self.take(n, self.fetch(n, self._post(q, p))),
                           np.where(batch.indirect, 2.0, 1.0) * c["walk_tx"])
        delivered = np.empty_like(walked)
        for first in range(0, batch.block, batch.part):
            at = slice(first, first + batch.part)
            delivered[:, at] = self._read(n, walked[:, at], first)
        beats = batch.costs.frame_beats[:, overall]
        wire = serve(delivered + c["data_wire"] - 1, beats, self._wire_free)
        self._wire_free = wire[:, -1]
        self.wire[:, q, PAD + p:PAD + p + batch.block] = wire
        self.times["first_beat"][:, q, own] = wire - beats + 1
        self.times["last_beat"][:, q, own] = wire
        issued = self.times["data_issued"][:, q, own]
        behind = np.ones(issued.shape, bool)
        behind[:, :-1] = issued[:, 1:] < delivered[:, :-1]
        behind[:, -1] = batch.saturated[:, 0] | ((p + batch.block) % batch.doorbell[:, 0] != 0)
        done = delivered + c["data_used"]
        self.use(n, done, behind, done + self.up.wait(done[:, -1:]))

    def _post(self, q, p):
        """When the driver makes each packet available: whole bursts, as soon as there is room for one."""
        batch = self.batch
        index = p + np.arange(batch.block)
        begins = index // batch.doorbell * batch.doorbell
        posted = self.look(self.seen, q, begins + batch.doorbell - 1 - batch.ring)
        if batch.offered is not None:
            posted = np.maximum(posted, batch.offered[:, q, p:p + batch.block])
        if self.feedback is not None:
            back = np.minimum(begins - batch.lead - 1, p - 1)
            posted = np.maximum(posted, np.where(batch.saturated, self.look(self.feedback.seen, q, back), 0.0))
        self.offered[:, q, p:p + batch.block] = posted
        return posted

    def _read(self, n, walked, first):
        """Data of the packets from `first` of block `n` on: tags, the link's turn, delivery in order."""
        batch, c, costs = self.batch, self.batch.constants, self.batch.costs
        q, p, own, overall = self.place(n)
        at = overall.start + first
        part = slice(at, at + batch.part)
        window = at + np.arange(batch.part) - batch.tag_window
        free = self._delivered[self._row, np.maximum(window + PAD, 0)]
        service = np.where(batch.tx_waits, np.maximum(batch.rq[:, part], batch.up[:, part]), costs.requests[:, part])
        if self.feedback is not None:
            service = service + batch.tx_waits * self.feedback.more_runs
        issue = serve(np.maximum(walked, free + 6) - service + costs.requests[:, part] - 1, service, self._issue_free)
        self._issue_free = issue[:, -1]
        size = np.minimum(costs.read, costs.lengths[:, part] + 12)
        extra = np.maximum(0, size - 64) * batch.per_byte
        sent = issue + self.up.wait(issue[:, :1])
        nominal = sent + batch.nominal
        turn = np.maximum(batch.down[:, part], batch.rc[:, part])
        carried = serve(nominal, turn, self._down_free)
        self._down_free = carried[:, -1]
        self.down.note(nominal, carried)
        tail = np.minimum(turn, (costs.mps + 20) / batch.link)
        drawn = sent + batch.trips["data tx"][:, part] + extra
        beats = -(-np.minimum(size, costs.mps) // costs.beat)
        there = np.maximum(carried - tail, drawn) + c["answer"] + beats - 1
        rows = c.cycles["data_wire"][1] * costs.rows[:, part]
        delivered = serve(there, rows, self._drain[:, q])
        if batch.queues > 1:
            turns = serve(carried, rows, self._nominal_drain)
            self._nominal_drain = turns[:, -1]
            delivered = np.maximum(delivered, turns)
        self._drain[:, q] = delivered[:, -1]
        self._delivered[:, PAD + at:PAD + at + batch.part] = delivered
        self.times["data_issued"][:, q, p + first:p + first + batch.part] = issue
        self.times["data_there"][:, q, p + first:p + first + batch.part] = there
        return delivered


class Receiver(Side):
    """From the wire to the driver."""

    def __init__(self, batch):
        super().__init__(batch, "rx")
        self.feedback = None
        self._wire_free, self._rq_free, self._link_free = (np.zeros(self.count) for _ in range(3))
        self.accepted = np.zeros_like(self.seen)

    def step(self, n):
        batch, c, costs = self.batch, self.batch.constants, self.batch.costs
        q, p, own, overall = self.place(n)
        index = p + np.arange(batch.block)
        fed = self._fed(q, p, index)
        beats = costs.frame_beats[:, overall]
        wire = serve(fed, beats, self._wire_free)
        self._wire_free = wire[:, -1]
        returned = index - batch.ring
        returned = np.where(returned < 0, -PAD, (returned // batch.refill + 1) * batch.refill - 1)
        ready = self.take(n, self.fetch(n, self.look(self.seen, q, np.minimum(returned, p - 1))))
        write = costs.data_rq["rx"][:, overall]
        came = wire + c["wire_write"] + c["parse"] * (costs.lengths[:, overall] <= PARSED)
        service = np.where(batch.indirect, c["walk_rx_chain"], c["walk_rx"])
        walked = self.walk(n, np.maximum(came, ready), service)
        rq = np.where(batch.tx_waits, batch.rq_rx[:, overall], batch.rq[:, overall])
        rq = rq + self.more_runs
        offered = serve(walked + c.cycles["wire_write"][1] * write - rq, rq, self._rq_free)
        up = np.where(batch.tx_waits, batch.up_rx[:, overall], batch.up[:, overall])
        carried = serve(offered, up, self._link_free)
        accepted = np.maximum(offered, carried - up - batch.waiting)
        self._rq_free, self._link_free = accepted[:, -1], carried[:, -1]
        self.up.note(accepted, carried)
        self.times["first_beat"][:, q, own] = wire - beats + 1
        self.times["last_beat"][:, q, own] = wire
        self.times["data_issued"][:, q, own] = accepted
        self.times["data_there"][:, q, own] = carried
        behind = np.ones(wire.shape, bool)
        behind[:, :-1] = wire[:, 1:] < accepted[:, :-1]
        behind[:, -1] = batch.saturated[:, 0] | ((p + batch.block) % batch.doorbell[:, 0] != 0)
        self.use(n, accepted + c["write_used"], behind, carried)

    def _fed(self, q, p, index):
        batch = self.batch
        fed = self.look(self.seen, q, np.minimum(index - batch.most, p - 1))
        fed = np.broadcast_to(fed, (self.count, batch.block))
        if batch.offered is not None:
            fed = np.where(batch.saturated, fed, batch.offered[:, q, p:p + batch.block])
        if self.feedback is not None:
            back = np.minimum(index - batch.ahead, p + batch.block - 1)
            fed = np.maximum(fed, np.where(batch.saturated, self.look(self.feedback.wire, q, back), 0.0))
        self.offered[:, q, p:p + batch.block] = fed
        return fed
