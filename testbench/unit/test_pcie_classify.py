"""Which received TLPs are malformed for their length, for every length there is."""

import pytest
from amaranth.sim import Simulator

from hdl.pcie.classify import RequestClassifier
from hdl.pcie.spec import TlpType


@pytest.mark.parametrize("code", range(4))
def test_payloads_above_the_maximum(code):
    """Of writes; a read asks for as much as it likes. A length of 0 stands for 1024 DWs."""
    dut = RequestClassifier()

    async def body(ctx):
        ctx.set(dut.max_payload, code)
        for length in range(1024):
            for with_data in (0, 1):
                ctx.set(dut.header, {"type": TlpType.MEMORY.value, "with_data": with_data, "length": length})
                await ctx.delay(1e-9)
                assert ctx.get(dut.malformed) == (with_data and (length or 1024) * 4 > 128 << code), length
                assert ctx.get(dut.write) + ctx.get(dut.nonposted) + ctx.get(dut.malformed) == 1
    sim = Simulator(dut)
    sim.add_testbench(body)
    sim.run()
