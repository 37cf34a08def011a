"""Host memory with an owner for every byte: what the driver has not given to the device, the device may not touch.

    memory = HostMemory()
    buffer = memory.allocate(4096, align=4096)
    memory.write(buffer, frame)
    grant = memory.give(buffer, len(frame), "r")    # from here the device may read it
    memory.take(grant)                              # and from here no longer

The driver's side (`read`, `write`) is not checked; the device's side (`device_read`, `device_write`) is, byte by byte.
Grants are counted, not flagged: a byte given twice stays given until it is taken twice.
"""

import bisect
import functools
import itertools
import mmap
import struct

__all__ = ["Arena", "Grant", "HostMemory", "HostMemoryError", "OwnershipError"]

_PAGE_SHIFT = 12
_MOST_GRANTS = 254
# What one grant more, or one less, makes of a count: `bytes.translate` counts a whole range at C speed.
_ONE_MORE = bytes(min(count + 1, 255) for count in range(256))
_ONE_LESS = bytes(max(count - 1, 0) for count in range(256))


@functools.lru_cache(maxsize=64)
def _uniform(length):
    """Counts of no grant and of one, for `length` bytes: what nearly all ranges have, and cheaper than to count."""
    return bytes(length), b"\1" * length


class HostMemoryError(ValueError):
    """An address, a length or an alignment that this memory doesn't have."""


class OwnershipError(AssertionError):
    """The device touched a byte that the driver had not given to it."""


class Grant:
    """One `give`, until it is taken: `address`, `length`, and `access`, one of "r", "w" and "rw"."""

    __slots__ = ("access", "address", "counts", "length", "live", "part")

    def __init__(self, address, length, access, counts, part):
        self.address = address
        self.length = length
        self.access = access
        self.counts = counts        # the arena's counts concerned,
        self.part = part            # and the slice of them
        self.live = True

    def __repr__(self):
        return f"[{self.address:#x}, +{self.length}) {self.access!r}"


class Arena:
    """One contiguous region: bytes, and per byte how many grants to read and to write there are.

    Anonymous mappings: what is never touched costs nothing.
    """

    def __init__(self, base, size):
        self.base = base
        self.end = base + size
        self.bytes = mmap.mmap(-1, size)
        self.readable = mmap.mmap(-1, size)
        self.writable = mmap.mmap(-1, size)
        self.counts = {"r": (self.readable,), "w": (self.writable,), "rw": (self.readable, self.writable)}
        self.free_starts = [base]       # free blocks, ascending and never adjacent
        self.free_ends = [self.end]

    def find(self, length, align):
        for start, end in zip(self.free_starts, self.free_ends):
            address = -(-start // align) * align
            if address + length <= end:
                return address
        return None

    def reserve(self, address, length):
        """Take [address, +length) out of the free list; False if part of it isn't free."""
        i = bisect.bisect_right(self.free_starts, address) - 1
        if i < 0 or self.free_ends[i] < address + length:
            return False
        start, end = self.free_starts[i], self.free_ends[i]
        pieces = [piece for piece in ((start, address), (address + length, end)) if piece[0] < piece[1]]
        self.free_starts[i:i + 1] = [piece[0] for piece in pieces]
        self.free_ends[i:i + 1] = [piece[1] for piece in pieces]
        return True

    def release(self, address, length):
        end = address + length
        i = bisect.bisect_left(self.free_starts, address)
        if i < len(self.free_starts) and self.free_starts[i] == end:
            end = self.free_ends.pop(i)
            del self.free_starts[i]
        if i > 0 and self.free_ends[i - 1] == address:
            self.free_ends[i - 1] = end
        else:
            self.free_starts.insert(i, address)
            self.free_ends.insert(i, end)


class HostMemory:
    """Memory of the host as driver and device see it.

    Two regions: one above 4 GiB, from which `allocate` takes by default, and one below. The upper one lies across a
    multiple of 4 GiB, so that an address whose halves don't carry is found out; the lower one ends at 4 GiB and
    contains 0xfee0_0000, where x86 hosts receive MSI-X.

    Parameters
    ----------
    size, base : int
        bytes and first address of the upper region
    low_size, low_base : int
        the same of the region below 4 GiB
    """

    def __init__(self, size=128 << 20, base=0x12_fe00_0000, *, low_size=128 << 20, low_base=0xf800_0000):
        if base < 1 << 32 or low_base + low_size > 1 << 32:
            raise HostMemoryError(f"{base:#x} must be above 4 GiB, and {low_base:#x} + {low_size:#x} below")
        self._high = Arena(base, size)
        self._low = Arena(low_base, low_size)
        self._allocated = {}            # address → length
        self._grants = {}               # id → Grant; only error messages walk through it
        self._watchers = {}             # page number → [(first, end, callback, handle)]
        self._watch_ids = itertools.count(1)

    # Allocation

    def allocate(self, length, align=64, *, at=None, low=False):
        """Address of `length` fresh bytes, zeroed, aligned to `align`: exactly at `at` if that is given, else the
        lowest free one above 4 GiB, or below with `low`. Raises `HostMemoryError` if there is none."""
        if length <= 0 or align <= 0 or align & (align - 1):
            raise HostMemoryError(f"can't allocate {length} bytes aligned to {align}")
        arena = self._arena(at, length) if at is not None else self._low if low else self._high
        address = arena.find(length, align) if at is None else at
        if address is None or not arena.reserve(address, length):
            where = f"at {at:#x}" if at is not None else f"in [{arena.base:#x}, {arena.end:#x})"
            raise HostMemoryError(f"no {length} bytes free {where}")
        self._allocated[address] = length
        offset = address - arena.base
        arena.bytes[offset:offset + length] = bytes(length)
        return address

    def free(self, address):
        """Give back what `allocate` returned. No byte of it may still be given to the device."""
        length = self._allocated.get(address)
        if length is None:
            raise HostMemoryError(f"{address:#x} was not allocated")
        arena = self._arena(address, length)
        offset = address - arena.base
        if any(arena.readable[offset:offset + length]) or any(arena.writable[offset:offset + length]):
            raise OwnershipError(f"freed [{address:#x}, +{length}) while the device has {self._near(address, length)}")
        del self._allocated[address]
        arena.release(address, length)

    # The driver's side

    def read(self, address, length):
        arena = self._arena(address, length)
        offset = address - arena.base
        return arena.bytes[offset:offset + length]

    def write(self, address, data):
        arena = self._arena(address, len(data))
        offset = address - arena.base
        arena.bytes[offset:offset + len(data)] = data

    def view(self, address, length):
        """The bytes themselves as a writable memoryview: as unchecked as `read` and `write`, and without copies."""
        arena = self._arena(address, length)
        offset = address - arena.base
        return memoryview(arena.bytes)[offset:offset + length]

    def read_u16(self, address):
        return int.from_bytes(self.read(address, 2), "little")

    def read_u32(self, address):
        return int.from_bytes(self.read(address, 4), "little")

    def read_u64(self, address):
        return int.from_bytes(self.read(address, 8), "little")

    def write_u16(self, address, value):
        self.write(address, struct.pack("<H", value))

    def write_u32(self, address, value):
        self.write(address, struct.pack("<I", value))

    def write_u64(self, address, value):
        self.write(address, struct.pack("<Q", value))

    # Ownership

    def give(self, address, length, access):
        """Allow the device to read ("r"), write ("w") or both ("rw"); returns the handle for `take`."""
        if access not in ("r", "w", "rw") or length <= 0:
            raise HostMemoryError(f"can't give {length} bytes with access {access!r}")
        arena = self._arena(address, length)
        start = address - arena.base
        part = slice(start, start + length)
        grant = Grant(address, length, access, arena.counts[access], part)
        none, one = _uniform(length)
        after = []
        for counts in grant.counts:
            before = counts[part]
            if _MOST_GRANTS in before:
                raise HostMemoryError(f"more than {_MOST_GRANTS} grants overlap in {grant}")
            after.append(one if before == none else before.translate(_ONE_MORE))
        for counts, now in zip(grant.counts, after):
            counts[part] = now
        self._grants[id(grant)] = grant
        return grant

    def take(self, grant):
        """Withdraw one `give`."""
        if not grant.live:
            raise HostMemoryError(f"{grant} was taken before")
        grant.live = False
        del self._grants[id(grant)]
        part = grant.part
        none, one = _uniform(grant.length)
        for counts in grant.counts:
            before = counts[part]
            counts[part] = none if before == one else before.translate(_ONE_LESS)

    # The device's side

    def device_read(self, address, length):
        """What the device reads. Raises `OwnershipError` unless every byte is given to it for reading."""
        arena = self._high if address >= 1 << 32 else self._low
        start = address - arena.base
        if start < 0 or address + length > arena.end or 0 in arena.readable[start:start + length]:
            self._refuse("read", "r", address, length)
        return arena.bytes[start:start + length]

    def device_write(self, address, data, enables=None):
        """Write as the device; `enables`, if given, has a byte per byte of `data`, 0 for those that stay untouched.

        Raises `OwnershipError` unless every byte to be written is given to the device for writing; then nothing is
        written. Calls the watchers of the range afterwards.
        """
        length = len(data)
        if enables is not None and 0 in enables:
            self._write_enabled(address, data, enables)
            return
        arena = self._high if address >= 1 << 32 else self._low
        start = address - arena.base
        if start < 0 or address + length > arena.end or 0 in arena.writable[start:start + length]:
            self._refuse("write", "w", address, length)
        arena.bytes[start:start + length] = data
        if self._watchers and length:
            self._notify(address, data)

    def watch(self, address, length, callback):
        """Call `callback(address, data)` after each device write that touches [address, +length), with the write as it
        came (one call per contiguous run of enabled bytes); returns the handle for `unwatch`."""
        handle = next(self._watch_ids)
        for page in range(address >> _PAGE_SHIFT, (address + length - 1 >> _PAGE_SHIFT) + 1):
            self._watchers.setdefault(page, []).append((address, address + length, callback, handle))
        return handle

    def unwatch(self, handle):
        for page, watchers in list(self._watchers.items()):
            watchers[:] = [watcher for watcher in watchers if watcher[3] != handle]
            if not watchers:
                del self._watchers[page]

    # Inside

    def _arena(self, address, length):
        for arena in (self._high, self._low):
            if arena.base <= address and address + length <= arena.end:
                return arena
        raise HostMemoryError(f"no memory at [{address:#x}, +{length})")

    def _write_enabled(self, address, data, enables):
        """Runs of enabled bytes, each as a write; all are checked before the first is written."""
        runs = []
        for enabled, run in itertools.groupby(range(len(data)), key=lambda i: bool(enables[i])):
            if enabled:
                where = list(run)
                runs.append((where[0], where[-1] + 1))
        for first, end in runs:
            if not self.may(address + first, end - first, "w"):
                self._refuse("write", "w", address + first, end - first)
        for first, end in runs:
            self.device_write(address + first, data[first:end])

    def may(self, address, length, access):
        """Whether the device may touch every byte of [address, +length); `access` is "r" or "w"."""
        try:
            arena = self._arena(address, length)
        except HostMemoryError:
            return False
        counts = arena.readable if access == "r" else arena.writable
        return 0 not in counts[address - arena.base:address - arena.base + length]

    def _notify(self, address, data):
        end = address + len(data)
        called = set()
        for page in range(address >> _PAGE_SHIFT, (end - 1 >> _PAGE_SHIFT) + 1):
            for first, watched_end, callback, handle in list(self._watchers.get(page, ())):
                if first < end and address < watched_end and handle not in called:
                    called.add(handle)
                    callback(address, data)

    def _refuse(self, what, access, address, length):
        wrong = next((i for i in range(length) if not self.may(address + i, 1, access)), 0)
        raise OwnershipError(f"device {what} of [{address:#x}, +{length}): byte {address + wrong:#x} is not given "
                             f"for that; given there: {self._near(address, length)}")

    def _near(self, address, length):
        touching = [grant for grant in self._grants.values()
                    if grant.address <= address + length and address <= grant.address + grant.length]
        return ", ".join(map(repr, touching[:4])) or "nothing"
