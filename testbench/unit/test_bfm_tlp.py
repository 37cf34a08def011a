"""TLP objects of the bench: literal headers, beats, and agreement with what the RTL declares."""

import pytest
from amaranth.hdl import Const

from hdl.pcie import spec
from testbench.bfm.tlp import (
    Kind,
    MessageCode,
    Status,
    Tlp,
    TlpAssembler,
    completion,
    config_read,
    config_write,
    memory_read,
    memory_write,
    message,
    to_beats,
)


def words(tlp):
    return [f"{tlp.header >> 32 * i & 0xffff_ffff:08x}" for i in range(4)]


@pytest.mark.parametrize("tlp, expected", [
    (memory_read(0x12_3456_7888, 64, 0xab, 0x3b00), ["20000010", "3b00abff", "00000012", "34567888"]),
    (memory_read(0xfee0_0001, 2, 7, 0x0100), ["00000001", "01000706", "fee00000", "00000000"]),
    (memory_read(0x1_0000_0003, 6, 1), ["20000003", "00000118", "00000001", "00000000"]),
    (memory_read(0x1000, 0, 1), ["00000001", "00000100", "00001000", "00000000"]),
    (memory_read(0x1000, 4096, 1), ["00000000", "000001ff", "00001000", "00000000"]),
    (memory_write(0xfee0_0000, bytes(4), 0x3b00), ["40000001", "3b00000f", "fee00000", "00000000"]),
    (memory_write(0x5_0000_0006, bytes(5), 0x3b00), ["60000002", "3b00007c", "00000005", "00000004"]),
    (config_read(0x3b00, 0x136, 2, 5, 8), ["04000001", "0008050c", "3b000134", "00000000"]),
    (config_write(0x3b00, 4, b"\x06\x04\0\0", 5, 8), ["44000001", "0008050f", "3b000004", "00000000"]),
    (completion(0x3b00, 0xab, 8, byte_count=4096, lower_address=0x44, payload=bytes(256)),
     ["4a000040", "00080000", "3b00ab44", "00000000"]),
    (completion(0x3b00, 1, 8, status=Status.COMPLETER_ABORT, byte_count=64),
     ["0a000000", "00088040", "3b000100", "00000000"]),
    (completion(0, 1, 8, payload=bytes(4), poisoned=True), ["4a004001", "00080004", "00000100", "00000000"]),
    (message(MessageCode.PME_TURN_OFF, routing=3), ["33000000", "00000019", "00000000", "00000000"]),
])
def test_headers(tlp, expected):
    assert words(tlp) == expected


def test_payload_is_padded_to_whole_dwords():
    assert memory_write(0x1003, b"ab").payload == b"\0\0\0ab\0\0\0"
    assert config_write(1, 0x3e, b"z", 1).payload == b"\0\0z\0"


def test_config_requests_stay_within_a_dword():
    with pytest.raises(ValueError, match="2 bytes at 0x3 are not within one DW"):
        config_read(0, 3, 2, 0)


@pytest.mark.parametrize("address, length", [(0x1000, 1), (0x1003, 1), (0x1002, 7), (0x1001, 64), (0x1000, 0)])
def test_enabled_bytes(address, length):
    first, end = memory_read(address, length, 0).enabled()
    assert end - first == length and (not length or first == address & 3)


def test_kinds_and_cost():
    read = memory_read(0x12_0000_0000, 64, 3)
    write = memory_write(0x1000, bytes(70))
    assert (read.kind, write.kind, read.posted, write.posted) == (Kind.MEMORY_READ, Kind.MEMORY_WRITE, False, True)
    assert (read.link_bytes, write.link_bytes, completion(0, 0, 0, payload=bytes(72)).link_bytes) == (24, 92, 92)
    assert message(MessageCode.ERR_COR).posted and Tlp(0x02 << 24 | 1).kind is Kind.OTHER
    assert "tag 3" in repr(read) and "+72" in repr(write)


def test_the_rtl_declares_the_same_fields():
    def fields(layout, tlp, *names):
        view = layout.from_bits(tlp.header)
        return [Const.cast(getattr(view, name)).value for name in names]
    request = memory_read(0x12_3456_7004, 60, 0x9c, 0x3b05, flags=2 << 12)
    assert fields(spec.MemoryRequest(), request, "length", "attr", "type", "four_dw", "with_data", "first_be",
                  "last_be", "tag", "requester", "high", "low") == [
        15, 2, 0, 1, 0, 15, 15, 0x9c, 0x3b05, 0x12, 0x3456_7004]
    reply = completion(0x3b05, 0x9c, 0x0008, status=1, byte_count=60, lower_address=4, payload=bytes(60), poisoned=True)
    assert fields(spec.Completion(), reply, "length", "ep", "type", "with_data", "byte_count", "status", "completer",
                  "lower_address", "tag", "requester") == [15, 1, 0b01010, 1, 60, 1, 8, 4, 0x9c, 0x3b05]
    config = config_write(0x3b05, 0x13e, b"ab", 3, 8)
    assert fields(spec.ConfigRequest(), config, "first_be", "register", "function", "device", "bus", "tag") == [
        0b1100, 0x4f, 5, 0, 0x3b, 3]
    note = message(MessageCode.ASSERT_INTA, requester=0x3b00)
    assert fields(spec.Message(), note, "type", "four_dw", "code", "requester") == [0b10100, 1, 0x20, 0x3b00]
    assert {code.name: code.value for code in spec.MessageCode} == {code.name: code.value for code in MessageCode}
    assert {status.value for status in spec.CompletionStatus} == {status.value for status in Status}


@pytest.mark.parametrize("width", [128, 256, 512])
@pytest.mark.parametrize("length", [1, 16, 17, 60, 64, 65, 256, 1024])
def test_beats_round_trip(width, length):
    assembler = TlpAssembler(width)
    tlp = memory_write(0x12_0000_0000, bytes(i & 0xff for i in range(length)), 0x3b00)
    beats = to_beats(tlp, width)
    assert len(beats) == -(-len(tlp.payload) * 8 // width)
    *early, last = [assembler.push(*beat) for beat in beats]
    assert last == tlp and not any(early) and not assembler.inside


def test_a_tlp_without_payload_is_one_beat():
    read = memory_read(0x1000, 512, 3)
    assert to_beats(read, 128) == [(1, 1, read.header, 0, 0)]
    assert TlpAssembler(128).push(*to_beats(read, 128)[0]) == read


WRITE = memory_write(0x1000, bytes(32)).header


@pytest.mark.parametrize("beats, message", [
    ([(0, 1, 0, 0xf, 0)], "first is 0 in the first beat"),
    ([(1, 0, WRITE, 0xf, 0), (1, 1, WRITE, 0xf, 0)], "first is 1 in the middle"),
    ([(1, 1, WRITE, 0x5, 0)], "not contiguous"),
    ([(1, 0, WRITE, 0x7, 0)], "partial before the last"),
    ([(1, 0, WRITE, 0xf, 0), (0, 1, 0, 0, 0)], "without payload"),
    ([(1, 1, WRITE, 0xf, 0)], "16 bytes of payload instead of 32"),
    ([(1, 1, memory_read(0x1000, 4, 0).header, 1, 0)], "4 bytes of payload instead of 0"),
    ([(1, 1, memory_read(0x1000, 4, 0).header | 1 << 96, 0, 0)], "DW3 is not 0"),
])
def test_broken_beats_are_noticed(beats, message):
    assembler = TlpAssembler(128)
    with pytest.raises(AssertionError, match=message):
        for beat in beats:
            assembler.push(*beat)
