"""Bus Master Enable taken away while frames are under way."""

from model.pci import Command
from testbench.system.bench_traffic import echo
from testbench.system.case import system_test


@system_test(timeout_us=8000)
async def bus_master_taken_away(bench):
    """No memory request starts any more, which the host checks; registers answer; after a reset everything works."""
    nic = await bench.nic(queue_size=32)
    bench.mac.loopback = True
    await nic.send_many([bench.frame() for _ in range(32)])
    await bench.clocks(bench.random.randrange(200, 600))
    await nic.function.set_command(clear=Command.BUS_MASTER)
    requests = bench.requests()
    await bench.platform.sleep(10_000)
    assert bench.requests() == requests
    assert await bench.host.config_read(0) == 0x1041_1AF4
    assert await nic.virtio.status() == 15
    await nic.stop()
    await bench.platform.sleep(10_000)
    bench.mac.loopback = False
    bench.forget_wire()
    nic = await bench.nic(queue_size=32)
    frames = [bench.frame() for _ in range(20)]
    assert await echo(bench, nic, frames, batch=4) == frames
