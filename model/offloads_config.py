"""What the driver configures for hashes and receive side scaling.

Source: VIRTIO Version 1.4, sections "Setting RSS parameters" (struct virtio_net_rss_config) and "Hash calculation" of
automatic receive steering (struct virtio_net_hash_config). Where it leaves open what to do with nonsense, the command
is refused: hash types that the device doesn't have, a table that is longer than the device's or no power of 2, queues
that don't exist or aren't enabled, no transmit queue or more than there are, a key longer than the device's, fewer or
more bytes than announced. Of a shorter key the rest is zeros.
"""

import struct

from model.offloads_hash import HashConfig

__all__ = ["HASH_TYPES", "KEY_BYTES", "TABLE_ENTRIES", "hash_config", "pack_hash_config", "pack_rss_config",
           "rss_config"]


HASH_TYPES, KEY_BYTES, TABLE_ENTRIES = 0x1ff, 40, 128


def _key(data, types):
    """HashConfig of a length, a key and nothing behind it, or None."""
    if not data or data[0] > KEY_BYTES or len(data) != 1 + data[0] or types & ~HASH_TYPES:
        return None
    return HashConfig(types, bytes(data[1:]).ljust(KEY_BYTES, b"\0"))


def hash_config(data):
    """HashConfig of a struct virtio_net_hash_config, or None."""
    if len(data) < 13:
        return None
    types, = struct.unpack_from("<I", data)
    return _key(data[12:], types)


def rss_config(data, pairs, is_enabled):
    """HashConfig of a struct virtio_net_rss_config, or None. `is_enabled(pair)`: its receive queue is."""
    if len(data) < 8:
        return None
    types, mask, unclassified = struct.unpack_from("<IHH", data)
    count = mask + 1
    if mask & count or count > TABLE_ENTRIES or len(data) < 8 + 2 * count + 3:
        return None
    *table, sends = struct.unpack_from(f"<{count + 1}H", data, 8)
    if not 1 <= sends <= pairs or not all(queue < pairs and is_enabled(queue) for queue in (*table, unclassified)):
        return None
    found = _key(data[8 + 2 * count + 2:], types)
    return found and HashConfig(found.types, found.key, tuple(table), unclassified)


def pack_hash_config(types, key):
    return struct.pack("<I8xB", types, len(key)) + key


def pack_rss_config(types, key, table, unclassified, sends):
    return (struct.pack(f"<IHH{len(table) + 1}HB", types, len(table) - 1, unclassified, *table, sends, len(key)) + key)
