"""Hash of a frame's flow and the table of flows, in plain Python."""

from testbench.unit.headers import headers_of

__all__ = ["FlowModel", "flow_hash", "spread"]


def flow_hash(headers):
    """16 bits, of the fields of `headers_of`: the low half of a CRC-32C, begun with 0 and not inverted."""
    ports = headers["source_port"], headers["destination_port"]
    key = headers["endpoints"].to_bytes(8, "little")
    key += (ports[0] ^ ports[1]).to_bytes(2, "little") + (ports[0] & ports[1]).to_bytes(2, "little")
    key += bytes([0 if headers["fragment"] else headers["protocol"]])
    crc = 0
    for byte in key:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc & 0xffff


def spread(value, pairs):
    return value * pairs >> 16


class FlowModel:
    """What `Steer` is to answer."""

    def __init__(self, entries):
        self.entries = entries
        self.table = {}

    def sent(self, frame, queue):
        self.table[flow_hash(headers_of(frame)) % self.entries] = queue

    def queue(self, frame, active):
        value = flow_hash(headers_of(frame))
        known = self.table.get(value % self.entries, active)
        return known if known < active else spread(value, active)
