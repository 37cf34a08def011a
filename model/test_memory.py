"""Host memory: allocation, grants that are counted, and what the device may not touch."""

import pytest

from model.memory import HostMemory, HostMemoryError, OwnershipError


@pytest.fixture
def memory():
    return HostMemory()


def test_allocations_are_aligned_distinct_and_zeroed(memory):
    a = memory.allocate(100)
    b = memory.allocate(4096, align=4096)
    c = memory.allocate(10, low=True)
    assert a % 64 == 0 and b % 4096 == 0
    assert a >= 1 << 32 and b >= a + 100 and c < 1 << 32
    memory.write(b, b"\xff" * 4096)
    memory.free(b)
    assert memory.allocate(4096, align=4096) == b
    assert memory.read(b, 4096) == bytes(4096)


def test_free_blocks_join_again():
    memory = HostMemory(size=0x10000)
    blocks = [memory.allocate(0x4000) for _ in range(4)]
    with pytest.raises(HostMemoryError, match="no 1 bytes free"):
        memory.allocate(1)
    for block in (blocks[1], blocks[3], blocks[2], blocks[0]):
        memory.free(block)
    assert memory.allocate(0x10000) == blocks[0]


def test_exact_address(memory):
    assert memory.allocate(64, at=0xfee0_0000) == 0xfee0_0000
    with pytest.raises(HostMemoryError, match="no 4 bytes free at 0xfee00010"):
        memory.allocate(4, at=0xfee0_0010)
    with pytest.raises(HostMemoryError, match="no memory at"):
        memory.allocate(4, at=0x1000)


@pytest.mark.parametrize("length, align", [(0, 64), (4, 3), (-1, 64)])
def test_impossible_allocations_are_refused(memory, length, align):
    with pytest.raises(HostMemoryError, match=f"can't allocate {length} bytes aligned to {align}"):
        memory.allocate(length, align)


def test_regions_must_lie_on_their_side():
    with pytest.raises(HostMemoryError, match="above 4 GiB"):
        HostMemory(base=0x1000)
    with pytest.raises(HostMemoryError, match="below"):
        HostMemory(low_base=0xffff_0000, low_size=0x20000)


def test_numbers_are_little_endian(memory):
    a = memory.allocate(16)
    memory.write_u64(a, 0x1122334455667788)
    assert memory.read(a, 8) == bytes.fromhex("8877665544332211")
    assert (memory.read_u16(a), memory.read_u32(a + 4), memory.read_u64(a)) == (0x7788, 0x11223344, 0x1122334455667788)
    memory.write_u16(a, 0xabcd)
    memory.write_u32(a + 8, 0xdeadbeef)
    assert memory.read(a, 12) == bytes.fromhex("cdab665544332211efbeadde")


def test_across_a_multiple_of_4_gib(memory):
    a = memory.allocate(0x2000, at=0x12_ffff_f000)
    memory.give(a, 0x2000, "rw")
    memory.device_write(0x12_ffff_fffe, b"abcd")
    assert memory.device_read(0x13_0000_0000, 2) == b"cd"


def test_device_needs_a_grant_of_the_right_kind(memory):
    a = memory.allocate(64)
    memory.write(a, bytes(range(64)))
    with pytest.raises(OwnershipError, match=f"read of .{a:#x}, .4.*nothing"):
        memory.device_read(a, 4)
    readable = memory.give(a, 32, "r")
    assert memory.device_read(a + 28, 4) == bytes([28, 29, 30, 31])
    with pytest.raises(OwnershipError, match=f"byte {a + 32:#x} is not given.*32. 'r'"):
        memory.device_read(a + 28, 5)
    with pytest.raises(OwnershipError, match="device write"):
        memory.device_write(a, b"x")
    writable = memory.give(a, 8, "w")
    memory.device_write(a, b"x")
    assert memory.read(a, 2) == b"x\x01"
    memory.take(writable)
    with pytest.raises(OwnershipError):
        memory.device_write(a, b"x")
    memory.take(readable)
    with pytest.raises(OwnershipError):
        memory.device_read(a, 1)


@pytest.mark.parametrize("address", [0, 0x1_0000_0000, 0x12_fdff_ffff, 0xf7ff_ffff, 0xffff_ffff, 2**64 - 4])
def test_outside_of_memory_is_an_ownership_error(memory, address):
    with pytest.raises(OwnershipError):
        memory.device_read(address, 4)
    with pytest.raises(OwnershipError):
        memory.device_write(address, bytes(4))


def test_overlapping_grants_are_counted(memory):
    a = memory.allocate(64)
    first = memory.give(a, 32, "rw")
    second = memory.give(a + 16, 32, "r")
    memory.take(first)
    assert len(memory.device_read(a + 16, 32)) == 32
    assert not memory.may(a, 1, "r") and not memory.may(a + 16, 1, "w")
    with pytest.raises(HostMemoryError, match="taken before"):
        memory.take(first)
    memory.take(second)
    assert not memory.may(a + 16, 1, "r")


def test_too_many_grants_are_refused_and_change_nothing(memory):
    a = memory.allocate(4)
    grants = [memory.give(a, 4, "r") for _ in range(254)]
    with pytest.raises(HostMemoryError, match="254"):
        memory.give(a, 4, "rw")
    assert not memory.may(a, 1, "w")
    for grant in grants:
        memory.take(grant)
    assert not memory.may(a, 4, "r")


def test_freeing_what_the_device_has_is_an_error(memory):
    a = memory.allocate(64)
    grant = memory.give(a + 60, 4, "w")
    with pytest.raises(OwnershipError, match="while the device has"):
        memory.free(a)
    memory.take(grant)
    memory.free(a)
    with pytest.raises(HostMemoryError, match="not allocated"):
        memory.free(a)


def test_byte_enables(memory):
    a = memory.allocate(8)
    memory.give(a + 1, 2, "w")
    memory.give(a + 5, 1, "w")
    memory.device_write(a, b"ABCDEFGH", bytes([0, 1, 1, 0, 0, 1, 0, 0]))
    assert memory.read(a, 8) == b"\0BC\0\0F\0\0"
    with pytest.raises(OwnershipError, match=f"byte {a + 6:#x}"):
        memory.device_write(a, b"abcdefgh", bytes([0, 1, 0, 0, 0, 0, 1, 0]))
    assert memory.read(a, 8) == b"\0BC\0\0F\0\0"


def test_watchers_see_writes_that_touch_their_range(memory):
    a = memory.allocate(0x3000, align=4096)
    memory.give(a, 0x3000, "w")
    seen = []
    handle = memory.watch(a + 0xff0, 0x20, lambda address, data: seen.append((address, bytes(data))))
    memory.device_write(a, bytes(0xff0))
    memory.device_write(a + 0x1010, b"x")
    assert seen == []
    memory.device_write(a + 0xfec, b"12345678")
    memory.device_write(a + 0xfff, b"ab")
    memory.device_write(a + 0x1000, b"zz", bytes([0, 1]))
    assert seen == [(a + 0xfec, b"12345678"), (a + 0xfff, b"ab"), (a + 0x1001, b"z")]
    memory.write(a + 0xff0, b"the driver's own writes don't count")
    memory.unwatch(handle)
    memory.device_write(a + 0x1000, b"late")
    assert len(seen) == 3


def test_a_view_is_the_memory_itself(memory):
    address = memory.allocate(16)
    view = memory.view(address + 4, 8)
    view[2:4] = b"ab"
    assert memory.read(address, 16) == bytes(6) + b"ab" + bytes(8)
    memory.write(address + 4, b"z")
    assert view[0] == ord("z")
    with pytest.raises(HostMemoryError, match="no memory at"):
        memory.view(0x1000, 4)
