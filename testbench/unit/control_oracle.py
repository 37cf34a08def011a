"""What the control queue must answer, written from the specification alone (VIRTIO 1.4, Control Virtqueue)."""

import struct

__all__ = ["ControlOracle", "OK", "ERR", "MQ", "NOTF_COAL", "pairs_set", "coalesce_all", "coalesce_queue",
           "ask_queue"]

OK, ERR = b"\0", b"\1"
MQ, NOTF_COAL = 4, 6
TX_SET, RX_SET, VQ_SET, VQ_GET = range(4)


def pairs_set(pairs):
    return struct.pack("<BBH", MQ, 0, pairs)


def coalesce_all(transmit, packets, usecs):
    return struct.pack("<BBII", NOTF_COAL, TX_SET if transmit else RX_SET, packets, usecs)


def coalesce_queue(virtqueue, packets, usecs, reserved=0):
    return struct.pack("<BBHHII", NOTF_COAL, VQ_SET, virtqueue, reserved, packets, usecs)


def ask_queue(virtqueue, reserved=0):
    return struct.pack("<BBHH", NOTF_COAL, VQ_GET, virtqueue, reserved)


class ControlOracle:
    """State behind the control queue.

    Parameters
    ----------
    pairs : max_virtqueue_pairs
    enabled : virtqueues that are enabled
    features : names among "multiqueue", "coalescing", "queue_coalescing"
    """

    def __init__(self, pairs, enabled, features):
        self.pairs, self.enabled, self.features = pairs, set(enabled), set(features)
        self.active = 1
        self.settings = {queue: (0, 0) for queue in range(2 * pairs)}

    def answer(self, command, room):
        """Device-writable bytes that `command` gets; with no room for a byte it has no effect."""
        if not room:
            return b""
        if len(command) < 2:
            return ERR
        group, number, data = command[0], command[1], command[2:]
        if group == MQ:
            return self._pairs(number, data)
        if group == NOTF_COAL and number < VQ_SET:
            return self._all(number == TX_SET, data)
        if group == NOTF_COAL:
            return self._queue(number, data, room)
        return ERR

    def _pairs(self, number, data):
        if "multiqueue" not in self.features or number != 0 or len(data) != 2:
            return ERR
        pairs, = struct.unpack("<H", data)
        if not 1 <= pairs <= self.pairs:
            return ERR
        self.active = pairs
        return OK

    def _all(self, transmit, data):
        if "coalescing" not in self.features or len(data) != 8:
            return ERR
        for queue in range(transmit, 2 * self.pairs, 2):
            self.settings[queue] = struct.unpack("<II", data)
        return OK

    def _queue(self, number, data, room):
        result = number == VQ_GET and room >= 9
        refused = bytes(8) + ERR if result else ERR
        if "queue_coalescing" not in self.features or len(data) != {VQ_SET: 12, VQ_GET: 4}.get(number):
            return refused
        queue = struct.unpack_from("<H", data)[0]
        if queue not in self.enabled:
            return refused
        if number == VQ_SET:
            self.settings[queue] = struct.unpack_from("<II", data, 4)
            return OK
        return struct.pack("<II", *self.settings[queue]) + OK if result else refused
