"""The driver on cocotb's clock, in front of the functional card."""

import random

import cocotb
from cocotb.utils import get_sim_time

from model.device import FunctionalNic, NicParameters
from model.memory import HostMemory
from testbench.driver.cocotb_platform import CocotbPlatform
from testbench.driver.direct import DirectHost
from testbench.driver.net import Nic


async def exchange(**options):
    """200 frames through a looped card that takes its time."""
    platform, rng = CocotbPlatform(), random.Random(1)
    card = FunctionalNic(HostMemory(), NicParameters(rx_buffer=1 << 30), deferred=True)
    card.datapath.wire = card.receive
    host = DirectHost(card, platform, latency_ns=100)
    work = platform.spawn(host.work(rng, 50))
    driver = Nic(host, platform, queue_size=7, **options)
    await driver.start()
    frames = [rng.randbytes(60) for _ in range(200)]
    sender = platform.spawn(driver.send_many(frames))
    assert [await driver.receive(timeout_ns=100_000) for _ in frames] == frames
    await sender
    await driver.flush()
    await driver.remove()
    work.cancel()
    assert not card.memory._grants


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def msix(dut):
    await exchange()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def intx(dut):
    await exchange(interrupts="intx")


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def polling(dut):
    await exchange(polling=True, poll_ns=333.3)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def time_is_the_simulators(dut):
    platform = CocotbPlatform()
    event = platform.event()
    began = get_sim_time("ns")
    assert not await platform.wait(event, 500)
    assert platform.now() == get_sim_time("ns") == began + 500
    event.set()
    assert await platform.wait(event, 500) and await platform.wait(event)
    assert platform.now() == began + 500
    await platform.sleep(0.5)
    assert platform.now() == began + 500.5
