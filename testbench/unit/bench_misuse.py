"""What a card must not do at its ports, and what the models of host and MAC say to it."""


import cocotb
from cocotb.triggers import RisingEdge

from model.memory import OwnershipError
from testbench.bfm import (
    ProtocolError,
    StreamError,
)
from testbench.bfm.tlp import memory_read, memory_write
from testbench.unit.bfm_card import DEVICE, Card


async def misbehave(dut, card, *changes):
    """Drive dev_* directly at successive edges."""
    dut.direct.value = 1
    edge = RisingEdge(dut.clk)
    for change in changes:
        for name, value in change.items():
            getattr(dut, name).value = value
        await edge
    await edge
    await edge


WRITE = memory_write(0x1000, bytes(4), DEVICE).header


@cocotb.test(expect_error=StreamError)
async def dropped_valid_is_noticed(dut):
    card = await Card(dut).start()
    card.host.rq.paused = True
    await card.env.clocks(3)
    await misbehave(dut, card, dict(dev_rq_valid=1, dev_rq_first=1, dev_rq_last=1, dev_rq_header=WRITE, dev_rq_keep=1),
                    dict(dev_rq_valid=0))


@cocotb.test(expect_error=StreamError)
async def changed_payload_is_noticed(dut):
    card = await Card(dut).start()
    card.host.rq.paused = True
    await card.env.clocks(3)
    await misbehave(dut, card, dict(dev_rq_valid=1, dev_rq_first=1, dev_rq_last=1, dev_rq_header=WRITE, dev_rq_keep=1),
                    dict(dev_rq_data=1))
    card.host.rq.paused = False
    await card.env.clocks(5)


@cocotb.test(expect_error=StreamError)
async def broken_keep_is_noticed(dut):
    card = await Card(dut).start()
    await misbehave(dut, card, dict(dev_rq_valid=1, dev_rq_first=1, dev_rq_last=1, dev_rq_header=WRITE, dev_rq_keep=2))


@cocotb.test(expect_error=StreamError)
async def a_gap_in_a_frame_is_noticed(dut):
    card = await Card(dut).start()
    full = (1 << len(dut.eth_tx_tkeep)) - 1
    await misbehave(dut, card, dict(dev_eth_tx_tvalid=1, dev_eth_tx_tlast=0, dev_eth_tx_tkeep=full),
                    dict(dev_eth_tx_tvalid=0))


@cocotb.test(expect_error=StreamError)
async def a_receiver_that_is_not_ready_is_noticed(dut):
    card = await Card(dut).start()
    card.eth_rx.paused = True
    card.env.mac.send(bytes(1514))
    await card.env.clocks(20)


@cocotb.test(expect_error=OwnershipError)
async def what_the_device_may_not_touch_fails_the_test(dut):
    card = await Card(dut).start()
    card.rq.append(memory_write(card.memory.allocate(64), bytes(64), DEVICE))
    await card.env.clocks(100)


@cocotb.test(expect_error=ProtocolError)
async def what_the_device_may_not_send_fails_the_test(dut):
    card = await Card(dut).start()
    card.rq.append(memory_read(card.base + 4032, 128, 0, DEVICE))
    await card.env.clocks(100)
