"""Messages of our own: INTx follows its level, PME_Turn_Off is acknowledged."""

import random

import pytest

from testbench.unit import tlp as t
from testbench.unit.completer_bench import run


@pytest.mark.requirements("PCI-065", "PCI-068")
def test_interrupt_and_what_masks_it():
    async def body(host):
        async def status():
            return await host.config_read(0x04) >> 19 & 1
        await host.start()                         # interrupts disabled
        host.set("isr_pending", 1)
        assert (await host.next_messages(), await status()) == ([], 1)
        await host.start(command=0x0006)
        assert (await host.next_messages(), await status()) == (["assert"], 1)
        await host.start(command=0x0406)
        assert (await host.next_messages(), await status()) == (["deassert"], 1)
        await host.start(command=0x0006)
        assert await host.next_messages() == ["assert"]
        await host.config_write(0x48, 0x8000_0000)    # MSI-X instead
        assert (await host.next_messages(), await status()) == (["deassert"], 0)
        await host.config_write(0x48, 0)
        assert (await host.next_messages(), await status()) == (["assert"], 1)
        await host.config_write(0x44, 3)              # D3hot
        assert await host.next_messages() == ["deassert"]
        await host.config_write(0x44, 0)
        assert await host.next_messages() == ["assert"]
        host.set("isr_pending", 0)
        assert (await host.next_messages(), await status()) == (["deassert"], 0)
        # A function level reset ends it as well, once the cause is gone
        host.set("isr_pending", 1)
        assert await host.next_messages() == ["assert"]
        await host.config_write(0xb4, 0x8000, enables=0b0010)
        host.set("isr_pending", 0)
        assert await host.next_messages() == ["deassert"]
    run(body)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.requirements("PCI-068")
def test_interrupt_messages_alternate_and_end_right(seed):
    rng = random.Random(seed)

    async def body(host):
        await host.start(command=0x0006)
        for _ in range(60):
            level = rng.randrange(2)
            host.set("isr_pending", level)
            host.messages_open = rng.random() < 0.5
            await host.wait(rng.randrange(1, 6))
        host.messages_open = True
        await host.wait(40)
        names = host.messages()
        assert names[:2] == ["assert", "deassert"] and len(names) > 4
        assert all(a != b for a, b in zip(names, names[1:], strict=False))
        assert names[-1] == ("assert" if level else "deassert")
    run(body, seed=seed, stall=0.3)


@pytest.mark.parametrize("width", [128, 512])
def test_turn_off_is_acknowledged(width):
    async def body(host):
        await host.config_write(0x44, 3)
        for _ in range(2):
            host.send(t.message(0x19, 3))
            assert await host.next_messages() == ["to_ack"]
    run(body, width=width)
