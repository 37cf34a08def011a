"""A virtqueue at work: a ring with doorbell and interrupt, and tasks that wait for it."""

from model import formats
from testbench.driver.platform import DriverError
from testbench.driver.ring import PackedRing
from testbench.driver.ring_options import RingFeatures
from testbench.driver.virtio_pci import QueueSetup

__all__ = ["Virtqueue"]


class Virtqueue:
    """What all queues of the driver share.

    Parameters
    ----------
    nic : Nic
    index, size : of the virtqueue

    Attributes
    ----------
    ring : PackedRing
    doorbell_at : int
        address that is written to notify the device, once enabled
    closed : bool
        stopped: nothing can be made available any more
    interrupt_after : int
        used buffers that are worth an interrupt while somebody waits, with VIRTIO_F_EVENT_IDX
    """

    def __init__(self, nic, index, size):
        self.index = index
        self.closed = False
        self.interrupt_after = 1
        self._nic = nic
        self._host = nic.host
        self._platform = nic.platform
        self._options = nic.options
        self._statistics = nic.statistics
        self._used = nic.platform.event()
        self._areas = []            # memory besides that of the ring
        self._waiting = 0           # tasks that want an interrupt
        self.ring = PackedRing(nic.host, size, style=nic.options.style, features=RingFeatures.of(nic.virtio.features))
        self.ring.disable_interrupts()
        self._watch = None
        if nic.options.polling and not nic.options.poll_ns:
            self._watch = nic.host.memory.watch(
                self.ring.descriptors, size * formats.DESC_BYTES, lambda address, data: self.interrupt())

    async def enable(self, vector):
        """Tell the device of the queue."""
        ring = self.ring
        self.doorbell_at = await self._nic.virtio.set_up_queue(
            self.index, QueueSetup(ring.size, ring.descriptors, ring.driver, ring.device, vector))

    # Making available

    @property
    def _doorbell(self):
        """(value, size) of the write that tells of all that is available now."""
        return self._nic.virtio.doorbell(self.index, self.ring.avail_index, self.ring.avail_wrap)

    async def kick(self):
        """Ring the doorbell, unless the device does without."""
        await self.nap()
        if self.closed:
            return
        if self.ring.decide_doorbell():
            self._statistics["doorbells"] += 1
            await self._host.mmio_write(self.doorbell_at, *self._doorbell)
        else:
            self._statistics["doorbells_saved"] += 1

    def check_open(self):
        if self.closed:
            raise DriverError(f"queue {self.index} was stopped")

    async def nap(self):
        if self._nic.naps:
            await self._nic.naps.nap()

    # Waiting

    def interrupt(self):
        """A used buffer notification has come."""
        self._used.set()
        self._nic.any_used.set()

    def wake(self):
        """Make everybody who waits look around."""
        self.interrupt()

    async def wait_used(self, timeout_ns=None):
        """Until a buffer is used that was not yet collected; at once if there is one. Raises `TimeoutError`."""
        await wait_for_any([self], self._used, timeout_ns)

    def arm(self):
        """Somebody is about to sleep. Look at the ring once more after this."""
        self._waiting += 1
        if not self._options.polling:
            self.ring.enable_interrupts(self.interrupt_after)

    def disarm(self, quiet):
        """Somebody slept; with `quiet`, no more interrupts are needed, unless somebody else sleeps too."""
        self._waiting -= 1
        if quiet and not self._waiting and not self._options.polling and not self.closed:
            self.ring.disable_interrupts()

    # The end

    def close(self):
        """Take everything back, from a device that is reset or was never live, or whose queue is; returns the tokens
        of the buffers in flight."""
        self.closed = True
        tokens = self.ring.close()
        if self._watch:
            self._host.memory.unwatch(self._watch)
        for area in self._areas:
            area.close()
        self._watch, self._areas = None, []
        self.wake()
        return tokens


async def wait_for_any(queues, news, timeout_ns=None):
    """Until one of `queues` has a used buffer that was not yet collected. `news` is an Event that each of them sets.
    Raises `TimeoutError`, and `DriverError` if one is stopped."""
    first = queues[0]
    nic, platform, options = first._nic, first._platform, first._options
    deadline = None if timeout_ns is None else platform.now() + timeout_ns
    while not _look(queues):
        await nic.check()
        if _look(queues):       # again: nothing may come between a look and what `_sleep` does first
            return
        left = None if deadline is None else deadline - platform.now()
        if left is not None and left <= 0:
            named = ", ".join(str(queue.index) for queue in queues)
            raise TimeoutError(f"no buffer of queue {named} was used within {timeout_ns} ns")
        nic.statistics["waits"] += 1
        if options.polling and options.poll_ns:
            await platform.sleep(options.poll_ns if left is None else min(options.poll_ns, left))
        else:
            await _sleep(queues, news, left)
        await first.nap()


def _look(queues):
    for queue in queues:
        queue.check_open()
    return any(queue.ring.has_used() for queue in queues)


async def _sleep(queues, news, timeout_ns):
    # Arm, then look again, then sleep: whatever is used before arming is seen, and what comes later wakes us.
    news.clear()
    for queue in queues:
        queue.arm()
    awake = False
    try:
        await queues[0].nap()
        awake = (any(queue.closed or queue.ring.has_used() for queue in queues)
                 or await queues[0]._platform.wait(news, timeout_ns))
    finally:
        # After a timeout interrupts stay on: somebody else may be waiting too.
        for queue in queues:
            queue.disarm(quiet=awake)
