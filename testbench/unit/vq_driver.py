"""Drivers of the rings of a `virtqueue.Engine`, each at a pace of its own."""

import random

from testbench.unit.packed_ring import Indirect
from testbench.unit.vq_memory import DRIVER_AREAS


class DriverSide:
    """Publishes buffers, rings and takes them back; see `vq_host.Host`."""

    def driver(self, queue, chains, *, pace=0.5, gap=20, most=4, check=True, extra_flags=0, sleeps=False):
        """A driver that publishes `chains` on a ring, as far as there is space, and rings as it is told to.

        Every step happens with probability `pace` in a cycle; `most` buffers are published between two looks at the
        event suppression; a doorbell travels up to `gap` cycles. With `sleeps`, once nothing more has come back the
        driver asks for the next used position, looks once more, and then waits for an interrupt. Returns the list of
        buffers that came back.
        """
        ring, rng, back = self.rings[queue], random.Random(self.rng.random()), []

        def steps():
            waiting, unannounced, publishing = list(chains), 0, None
            asked, woken = None, 0      # position asked for; interrupts seen by then
            while True:
                used = None
                if asked and asked[1] and self.interrupts[queue] == woken:
                    pass
                elif rng.random() < pace:
                    used, position = ring.poll(), (ring.used_index, ring.used_wrap)
                    if sleeps and used is None and (not asked or asked[0] != position):
                        asked, woken = (position, False), self.interrupts[queue]
                        ring.ask_for(DRIVER_AREAS + 4 * queue)
                    elif asked:
                        asked = (position, used is None)
                while used is not None:
                    buffer, length, written = used
                    if check:
                        filled = getattr(buffer, "filled", 0)
                        assert (length, written) == (filled, filled > 0)
                    back.append(buffer)
                    used = ring.poll() if getattr(buffer, "more", False) else None
                    assert not getattr(buffer, "more", False) or used, "a part of a packet is visible"
                if publishing is None and waiting and slots_of(waiting[0]) <= ring.free and unannounced < most:
                    publishing = ring.publish(waiting.pop(0), rng, extra_flags)
                    next(publishing)
                elif publishing is not None and rng.random() < pace:
                    if next(publishing, self) is self:
                        publishing, unannounced = None, unannounced + 1
                elif publishing is None and unannounced and rng.random() < pace:
                    unannounced = 0
                    if ring.wants_doorbell():
                        self.doorbells.append((self.now + rng.randint(0, gap), self.doorbell(queue)))
                yield
        self.drivers.append(steps())
        return back

    def doorbell(self, queue):
        """Payload of a doorbell that is rung now."""
        ring = self.rings[queue]
        told = {"next_off": ring.next_index, "next_wrap": ring.next_wrap, "has_data": 1}
        return {"queue": queue} | (told if self.notification_data else {})

    def rang(self, doorbell):
        """A doorbell was taken."""
        self.log.append(("doorbell", self.now, doorbell["queue"]))


def slots_of(chain):
    return 1 if isinstance(chain, Indirect) else len(chain)
