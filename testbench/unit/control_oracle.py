"""What the control queue must answer, written from the specification alone (VIRTIO 1.4, Control Virtqueue)."""

import struct

__all__ = ["ControlOracle", "OK", "ERR", "ANNOUNCE", "RX", "MAC", "VLAN", "MQ", "NOTF_COAL", "pairs_set",
           "coalesce_all", "coalesce_queue", "ask_queue", "receive_mode", "table_set", "mac_set", "vlan_set",
           "GUEST_OFFLOADS", "NEGOTIATED", "STATS", "stats_get", "stats_query", "TYPES"]

OK, ERR = b"\0", b"\1"
RX, MAC, VLAN, ANNOUNCE, MQ, GUEST_OFFLOADS, NOTF_COAL, STATS = 0, 1, 2, 3, 4, 5, 6, 8
# Those that were negotiated: GUEST_CSUM, TSO4, and one numbered otherwise than its feature.
NEGOTIATED = 1 << 1 | 1 << 7 | 1 << 46
LISTED = 64      # addresses of each kind
TX_SET, RX_SET, VQ_SET, VQ_GET = range(4)


def pairs_set(pairs):
    return struct.pack("<BBH", MQ, 0, pairs)


def coalesce_all(transmit, packets, usecs):
    return struct.pack("<BBII", NOTF_COAL, TX_SET if transmit else RX_SET, packets, usecs)


def coalesce_queue(virtqueue, packets, usecs, reserved=0):
    return struct.pack("<BBHHII", NOTF_COAL, VQ_SET, virtqueue, reserved, packets, usecs)


def ask_queue(virtqueue, reserved=0):
    return struct.pack("<BBHH", NOTF_COAL, VQ_GET, virtqueue, reserved)


def receive_mode(number, on):
    return bytes([RX, number, on])


def table_set(*kinds):
    return bytes([MAC, 0]) + b"".join(len(kind).to_bytes(4, "little") + b"".join(kind) for kind in kinds)


def mac_set(mac):
    return bytes([MAC, 1]) + mac


def vlan_set(add, vlan):
    return struct.pack("<BBH", VLAN, 0 if add else 1, vlan)


# Types of statistics: bit → (counters, feature that it needs, or None).
TYPES = {0: (6, None), 1: (4, "receive_checksum"), 3: (2, None), 16: (6, None), 17: (2, "transmit_checksum"),
         18: (6, "segmentation"), 19: (2, None), 32: (2, None)}


def stats_query():
    return bytes([STATS, 0])


def stats_get(*requests):
    """`requests`: (virtqueue, types)."""
    return bytes([STATS, 1]) + b"".join(struct.pack("<H6xQ", *request) for request in requests)


class ControlOracle:
    """State behind the control queue.

    Parameters
    ----------
    pairs : max_virtqueue_pairs
    enabled : virtqueues that are enabled
    features : names of `ControlFeatures`

    Attributes
    ----------
    modes : switched on, bit per command of class RX
    table : addresses, and which kinds are too many, as told last; None before
    mac : set last, or None
    vlans : set
    acknowledged : announcements so far
    offloads : guest offloads that are on
    control_queue : its index
    counter : counter(virtqueue, type, n) is what was counted for a receive or transmit queue
    """

    def __init__(self, pairs, enabled, features):
        self.pairs, self.enabled, self.features = pairs, set(enabled), set(features)
        self.active = 1
        self.settings = {queue: (0, 0) for queue in range(2 * pairs)}
        self.modes, self.table, self.mac, self.vlans = 0, None, None, set()
        self.acknowledged, self.offloads = 0, NEGOTIATED
        self.commands = self.good = 0
        self.control_queue = 2 * pairs if "multiqueue" in self.features else 2
        self.counter = None

    def filter(self):
        """What others than the queues must have been told by now."""
        return self.modes, self.table, self.mac, frozenset(self.vlans), self.acknowledged, self.offloads

    def answer(self, command, room):
        """Device-writable bytes that `command` gets; with no room for a byte it has no effect."""
        if not room:
            return b""
        self.commands += 1
        result = self._answer(command, room)
        group, number = (*command, 0, 0)[:2]
        self.good += (result[:1] if group == STATS else result[-1:]) == OK and (group, number) != (STATS, 1)
        return result

    def _answer(self, command, room):
        if len(command) < 2:
            return ERR
        group, number, data = command[0], command[1], command[2:]
        if group == MQ:
            return self._pairs(number, data)
        if group == NOTF_COAL and number < VQ_SET:
            return self._all(number == TX_SET, data)
        if group == NOTF_COAL:
            return self._queue(number, data, room)
        if group == RX:
            return self._mode(number, data)
        if group == MAC:
            return self._address(data) if number == 1 else self._table(data) if number == 0 else ERR
        if group == ANNOUNCE:
            good = "announce" in self.features and number == 0 and not data
            self.acknowledged += good
            return OK if good else ERR
        if group == GUEST_OFFLOADS:
            wanted = int.from_bytes(data, "little")
            if "guest_offloads" not in self.features or number or len(data) != 8 or wanted & ~NEGOTIATED:
                return ERR
            self.offloads = wanted
            return OK
        if group == STATS and "statistics" in self.features:
            return self._query(number, data, room) if number == 0 else self._get(number, data, room)
        if group == VLAN:
            return self._vlan(number, data)
        return ERR

    def _mode(self, number, data):
        feature = "receive_modes" if number < 2 else "receive_extra"
        if feature not in self.features or number > 5 or data not in (b"\0", b"\1"):
            return ERR
        self.modes = self.modes & ~(1 << number) | data[0] << number
        return OK

    def _table(self, data):
        kinds, rest = [], data
        for _ in range(2):
            if len(rest) < 4:
                return ERR
            end = 4 + 6 * int.from_bytes(rest[:4], "little")
            if len(rest) < end:
                return ERR
            kinds.append([rest[at:at + 6] for at in range(4, end, 6)])
            rest = rest[end:]
        if rest or "receive_modes" not in self.features:
            return ERR
        many = [len(kind) > LISTED for kind in kinds]
        self.table = [address for kind, is_many in zip(kinds, many) if not is_many for address in kind], many
        return OK

    def _address(self, data):
        if "mac_address" not in self.features or len(data) != 6:
            return ERR
        self.mac = data
        return OK

    def _vlan(self, number, data):
        if "vlan" not in self.features or number > 1 or len(data) != 2 or data[1] >> 4:
            return ERR
        (self.vlans.discard if number else self.vlans.add)(int.from_bytes(data, "little"))
        return OK

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

    def _types(self):
        return [bit for bit, (_, feature) in TYPES.items() if feature is None or feature in self.features]

    def _query(self, number, data, room):
        return ERR if data else (OK + sum(1 << bit for bit in self._types()).to_bytes(8, "little"))[:room]

    def _get(self, number, data, room):
        requests = list(struct.iter_unpack("<H6xQ", data)) if len(data) % 16 == 0 else None
        if number != 1 or requests is None or len(requests) > 1 << (2 * self.pairs).bit_length():
            return ERR
        for queue, types in requests:
            if queue > self.control_queue:
                return ERR
            own = 32 if queue == self.control_queue else 16 * (queue % 2)
            legal = sum(1 << bit for bit in self._types() if own <= bit < own + 16)
            if types & ~legal:
                return ERR
        self.good += 1
        return (OK + b"".join(self._reply(queue, bit) for queue, types in requests
                              for bit in TYPES if types >> bit & 1))[:room]

    def _reply(self, queue, bit):
        count = TYPES[bit][0]
        values = ((self.commands, self.good) if queue == self.control_queue
                  else [self.counter(queue, bit, n) for n in range(count)])
        return struct.pack(f"<BxHxxH{count}Q", bit, queue, 8 + 8 * count, *values)
