"""Progress: who may wait for whom at the completer, one test for each way to stand still for ever."""

import pytest

from testbench.unit import tlp as t
from testbench.unit.completer_bench import BAR, SUCCESS, run


def doorbells(count, at=0x1_0000):
    return [t.memory_write(BAR + at + 4 * n, n.to_bytes(2, "little")) for n in range(count)]


def written(host):
    return [access[1] for access in host.accesses if access[0]]


@pytest.mark.parametrize("stall, width", [(0, 128), (0.3, 512)])
def test_writes_pass_32_reads_while_cc_stands_still(stall, width):
    async def body(host):
        await host.start()
        host.cc_open = False
        for n in range(32):
            request = [t.memory_read(BAR + 4 * n, 4, tag=n), t.config_read(4 * n, tag=n),
                       t.config_write(0x3c, n, tag=n), t.memory_read(0, 4, tag=n)][n % 4]
            host.send(request, *doorbells(1, 0x1_0000 + 4 * n))
        host.send(*doorbells(20, 0x1_1000))
        await host.until(lambda: len(written(host)) == 52)
        assert written(host)[:32] == [0x1_0000 + 4 * n for n in range(32)]
        assert host.answered == 0
        host.cc_open = True
        await host.until(lambda: host.answered == 32)
        assert [completion.tag for completion in host.completions()] == [*range(32)]
    run(body, stall=stall, width=width)


def test_a_request_beyond_those_waits_at_the_entrance_and_loses_nothing():
    async def body(host):
        await host.start()
        host.cc_open = False
        host.send(*[t.memory_read(BAR + 4 * n, 4, tag=n) for n in range(60)], *doorbells(1))
        await host.wait(300)
        assert host.queue and not written(host)
        host.cc_open = True
        await host.until(lambda: host.answered == 60)
        assert [(completion.tag, completion.data) for completion in host.completions()] == [
            (n, host.image(4 * n, 4)) for n in range(60)]
        assert written(host) == [0x1_0000]
    run(body)


def test_writes_pass_a_long_read_that_stands_in_the_middle():
    async def body(host):
        await host.start()
        host.send(t.memory_read(BAR, 1024, tag=1))
        await host.until(lambda: len(host.cc_beats) > 20)
        host.cc_open = False
        await host.wait(60)
        host.send(*doorbells(50))
        await host.until(lambda: len(written(host)) == 50)
        assert len(host.accesses) < 50 + 256
        host.cc_open = True
        await host.until(lambda: sum(beat.last for beat in host.cc_beats) == 8)
        assert b"".join(completion.data for completion in host.completions()) == host.image(0, 1024)
    run(body)


def test_writes_take_turns_with_a_long_read():
    async def body(host):
        await host.start()
        host.send(t.memory_read(BAR, 512, tag=1), *doorbells(40))
        await host.until(lambda: len(written(host)) == 40)
        reads = len(host.accesses) - 40
        assert 1 <= reads <= 3, "a write goes first where both want the bus"
        await host.until(lambda: host.answered == 4)
    run(body)


def test_endless_writes_do_not_stop_a_read():
    async def body(host):
        await host.start()
        host.send(t.memory_read(BAR, 16, tag=1), *doorbells(300))
        await host.until(lambda: host.answered)
        assert host.queue, "the writes ended first"
        completion, = host.completions()
        assert completion.data == host.image(0, 16)
        await host.until(lambda: not host.queue)
    run(body)


def test_half_a_write_does_not_stop_a_read():
    async def body(host):
        await host.start()
        first, *others = t.beats_of(t.memory_write(BAR + 0x100, bytes(128)), host.width)
        host.send(t.memory_read(BAR, 8, tag=1))
        host.queue.append(first)
        await host.until(lambda: host.answered)
        host.queue.extend(others)
        await host.drained()
        assert written(host) == [*range(0x100, 0x180, 4)]
    run(body)


def test_nothing_waits_for_messages():
    """With `messages` standing still, errors, interrupts and PME_Turn_Off come in, and requests go on."""
    async def body(host):
        await host.start(command=0x0006, control=0xf)
        await host.config_write(0x114, 0)
        host.messages_open = False
        for n in range(40):
            host.set("isr_pending", n % 2)
            host.send(t.memory_write(0x10, bytes(4)), t.memory_read(0x10, 4, tag=n), t.message(0x19, 3),
                      t.memory_write(BAR + 0x100, bytes(200)), *doorbells(1, 0x1_0000 + 4 * n))
            await host.wait(12)
        await host.until(lambda: host.answered == len(written(host)) == 40)
        host.messages_open = True
        await host.wait(40)
        # Merged while they waited, none forgotten; the last about INTA tells its level
        names = host.messages()
        assert {"fatal", "nonfatal", "cor", "to_ack", "assert"} == set(names)
        assert len(names) <= 7 and names[-1] == "assert"
    run(body)


def test_messages_do_not_wait_for_cc_or_the_bus():
    async def body(host):
        await host.start(command=0x0006, control=0xf)
        host.cc_open = host.bus_open = False
        host.send(t.config_read(0), t.message(0x19, 3), t.memory_write(0x10, bytes(4)))
        host.send(*[t.memory_read(BAR, 64, tag=n) for n in range(4)], *doorbells(4))
        await host.wait(20)
        host.set("isr_pending", 1)
        assert set(await host.next_messages()) == {"to_ack", "nonfatal", "assert"}
        host.set("isr_pending", 0)
        assert await host.next_messages() == ["deassert"]
        host.cc_open = host.bus_open = True
        await host.until(lambda: host.answered == 5)
    run(body)


def test_writes_pass_a_function_level_reset_that_cannot_be_answered():
    async def body(host):
        await host.start()
        host.cc_open = False
        host.send(t.config_write(0xb4, 0x8000, enables=0b0010), *doorbells(8))
        await host.until(lambda: len(written(host)) == 8)
        assert host.flrs == 0
        host.cc_open = True
        await host.until(lambda: host.flrs)
        completion, = host.completions()
        assert completion.status == SUCCESS
    run(body)


def test_completions_wait_for_a_slow_bus_only():
    """While the bus stands still nothing is lost, and what needs no bus is answered once it is its turn."""
    async def body(host):
        await host.start()
        host.bus_open = False
        host.send(t.config_read(0, tag=1), t.memory_read(BAR, 4, tag=2), t.config_read(8, tag=3), *doorbells(3))
        await host.wait(60)
        assert [completion.tag for completion in host.completions()] == [1]
        host.bus_open = True
        await host.until(lambda: host.answered == 2)
        assert [completion.tag for completion in host.completions()] == [2, 3]
        assert len(written(host)) == 3
    run(body)
