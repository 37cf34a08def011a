"""Errors: what is recorded and what is signalled. PCI Express Base Specification 4.0, section 6.2."""

import pytest

from testbench.unit import tlp as t
from testbench.unit.completer_bench import ABORT, BAR, UNSUPPORTED, run

SIZE = 0x4_0000
POISONED, TIMEOUT, CA, UNEXPECTED, MALFORMED, UR = 12, 14, 15, 16, 18, 20
COR, NONFATAL, FATAL, UR_DETECTED = 1, 2, 4, 8
ADVISORY = 1 << 13
# Bits of the PCI status register
PARITY, SYSTEM_ERROR, MASTER_ABORT, TARGET_ABORT, SIGNALLED_ABORT, DATA_PARITY = 15, 14, 13, 12, 11, 8
HEADER = 0x1111_2222_3333_4444_5555_6666_7777_8888


def bad_write():
    return t.memory_write(0x10, b"abcd")


def pulse(*names):
    async def cause(host):
        host.set("completion_header", HEADER)
        await host.pulse(*names)
        return HEADER
    return cause


def sent(packet, answer=None):
    async def cause(host):
        made = packet()
        if answer is None:
            host.send(made)
            await host.drained()
            assert host.answered == 0
        else:
            completion = await host.ask(made)
            assert completion.status == answer
        return made.number
    return cause


# name: (cause, bit, advisory, PCI status bits)
CAUSES = {
    "write to nobody": (sent(bad_write), UR, False, []),
    "write over the end": (sent(lambda: t.memory_write(BAR + SIZE - 4, bytes(8))), CA, False, [SIGNALLED_ABORT]),
    "poisoned write": (sent(lambda: t.memory_write(BAR, b"abcd", ep=1)), POISONED, False, [PARITY]),
    "poisoned write to nobody": (sent(lambda: t.memory_write(8, b"abcd", ep=1)), UR, False, []),
    "vendor message 0": (sent(lambda: t.message(0x7e, 2)), UR, False, []),
    "unknown message": (sent(lambda: t.message(0x10, 4)), UR, False, []),
    "poisoned slot power": (sent(lambda: t.message(0x50, 4, [1], ep=1)), POISONED, False, [PARITY]),
    "too long": (sent(lambda: t.memory_write(BAR, bytes(132))), MALFORMED, False, []),
    "long I/O read": (sent(lambda: t.memory_read(0, 8, kind=2)), MALFORMED, False, []),
    "read of nobody": (sent(lambda: t.memory_read(0x10, 4), UNSUPPORTED), UR, True, []),
    "read over the end": (sent(lambda: t.memory_read(BAR + SIZE - 4, 8), ABORT), CA, True, [SIGNALLED_ABORT]),
    "poisoned configuration": (sent(lambda: t.config_write(0x3c, 5, ep=1), UNSUPPORTED), POISONED, True, [PARITY]),
    "unexpected completion": (pulse("unexpected_completion"), UNEXPECTED, True, []),
    "poisoned completion": (pulse("poisoned_completion"), POISONED, False, [PARITY]),
    "completion timeout": (pulse("completion_timeout_error"), TIMEOUT, False, []),
}


class Logs:
    """Every register that errors touch, read and cleared."""

    @classmethod
    async def take(cls, host):
        logs = cls()
        logs.status = await host.config_read(0x04) >> 16 & 0xf900
        logs.device = await host.config_read(0xb4) >> 16 & 0xf
        logs.uncorrectable = await host.config_read(0x104)
        logs.correctable = await host.config_read(0x110)
        logs.first = await host.config_read(0x118)
        logs.header = sum([await host.config_read(0x11c + 4 * n) << 32 * n for n in range(4)])
        await host.config_write(0x04, 0xffff_0000, enables=0b1100)
        await host.config_write(0xb4, 0xffff_0000, enables=0b1100)
        await host.config_write(0x104, 0xffff_ffff)
        await host.config_write(0x110, 0xffff_ffff)
        return logs


async def controls(host, device=0xf, command=0x0006, mask=0, severity=0, correctable_mask=0):
    await host.start(command=command, control=device)
    await host.config_write(0x108, mask)
    await host.config_write(0x10c, severity)
    await host.config_write(0x114, correctable_mask)


def status_bits(bits):
    return sum(1 << bit for bit in bits)


@pytest.mark.parametrize("name", CAUSES)
def test_each_error(name):
    cause, bit, advisory, pci_bits = CAUSES[name]
    unsupported = UR_DETECTED if bit == UR else 0

    async def body(host):
        # Everything enabled, all non-fatal
        await controls(host)
        header = await cause(host)
        assert await host.next_messages() == ["cor" if advisory else "nonfatal"]
        logs = await Logs.take(host)
        assert logs.device == (COR if advisory else NONFATAL) | unsupported
        assert (logs.uncorrectable, logs.correctable) == (1 << bit, ADVISORY if advisory else 0)
        assert logs.first == bit
        if bit != TIMEOUT:
            assert logs.header == header
        assert logs.status == status_bits(pci_bits)

        # Fatal by severity: then never advisory. System error enabled, and nothing else
        await controls(host, device=0, command=0x0146, severity=1 << bit)
        await cause(host)
        assert await host.next_messages() == ["fatal"]
        logs = await Logs.take(host)
        assert (logs.device, logs.uncorrectable, logs.correctable) == (FATAL | unsupported, 1 << bit, 0)
        data_parity = [DATA_PARITY] if name == "poisoned completion" else []
        assert logs.status == status_bits([SYSTEM_ERROR, *pci_bits, *data_parity])

        # Masked: recorded, neither told nor logged
        await controls(host, mask=1 << bit, correctable_mask=ADVISORY)
        await host.config_write(0x10c, 0)
        await cause(host)
        assert await host.next_messages() == []
        logs = await Logs.take(host)
        assert logs.device == (COR if advisory else NONFATAL) | unsupported
        assert (logs.uncorrectable, logs.correctable) == (0, ADVISORY) if advisory else (1 << bit, 0)

        # Nothing enabled: recorded, not told
        await controls(host, device=0)
        await cause(host)
        assert await host.next_messages() == []
        assert (await Logs.take(host)).uncorrectable == 1 << bit
    run(body)


def test_reporting_enables():
    async def body(host):
        cases = [
            # Device Control, Command, write to nobody, read of nobody, malformed
            (0b1111, 0x006, ["nonfatal"], ["cor"], ["fatal"]),
            (0b0111, 0x006, [], [], ["fatal"]),             # Unsupported Requests not reported
            (0b0111, 0x106, ["nonfatal"], [], ["fatal"]),   # but System Error is
            (0b1000, 0x006, [], [], []),
            (0b1001, 0x006, [], ["cor"], []),
            (0b1010, 0x006, ["nonfatal"], [], []),
            (0b1100, 0x006, [], [], ["fatal"]),
            (0b0000, 0x106, ["nonfatal"], [], ["fatal"]),
        ]
        for device, command, *expected in cases:
            await controls(host, device=device, command=command, severity=1 << MALFORMED)
            got = []
            for cause in ("write to nobody", "read of nobody", "too long"):
                await CAUSES[cause][0](host)
                got.append(await host.next_messages())
            assert got == expected, f"device control {device:#b}, command {command:#x}"
    run(body)


def test_the_first_error_keeps_the_log():
    async def body(host):
        await controls(host)
        first, second = bad_write(), t.memory_write(BAR, bytes(4), ep=1)
        host.send(first, second, t.memory_write(0x80, bytes(8)))
        await host.drained()
        assert await host.config_read(0x118) == UR
        assert await host.config_read(0x11c) == first.header[0]
        assert await host.config_read(0x128) == first.header[3]
        # Clearing another bit frees nothing; clearing this one does, without bringing older errors back
        await host.config_write(0x104, 1 << POISONED)
        host.send(second)
        await host.drained()
        assert await host.config_read(0x118) == UR
        await host.config_write(0x104, 1 << UR)
        host.send(second)
        await host.drained()
        assert await host.config_read(0x118) == POISONED
        assert await host.config_read(0x11c) == second.header[0]
        assert await host.config_read(0x120) == second.header[1]
    run(body)


def test_errors_of_one_cycle_are_all_recorded():
    async def body(host):
        await controls(host)
        host.set("completion_header", HEADER)
        await host.pulse("unexpected_completion", "completion_timeout_error", "poisoned_completion")
        assert await host.next_messages() == ["nonfatal", "cor"]
        logs = await Logs.take(host)
        assert logs.uncorrectable == 1 << UNEXPECTED | 1 << TIMEOUT | 1 << POISONED
        assert logs.first in (UNEXPECTED, POISONED) and logs.header == HEADER
        assert logs.device == COR | NONFATAL
    run(body)


def test_error_completions_of_our_requests():
    async def body(host):
        await controls(host)
        await host.pulse("unsupported_received")
        assert (await Logs.take(host)).status == 1 << MASTER_ABORT
        await host.pulse("abort_received")
        logs = await Logs.take(host)
        assert logs.status == 1 << TARGET_ABORT
        assert (logs.device, logs.uncorrectable) == (0, 0)
        assert await host.next_messages() == []
    run(body)


def test_messages_that_mean_nothing_to_us():
    async def body(host):
        await controls(host)
        host.send(t.message(0x50, 4, [0x1234]), t.message(0x7f, 3), t.message(0x7f, 2, [1, 2, 3]), t.message(0x00, 3),
                  t.message(0x14, 4), t.message(0x41, 4), t.message(0x7f, 3, [1], ep=1))
        await host.drained()
        assert await host.next_messages() == []
        logs = await Logs.take(host)
        assert (logs.status, logs.device, logs.uncorrectable, logs.correctable) == (0, 0, 0, 0)
    run(body)
