"""What goes wrong on the card's side is found out, by the memory or by the driver."""


import pytest

from model import formats
from model.memory import OwnershipError
from model.virtqueue import PackedQueue
from testbench.driver.platform import DeviceError
from testbench.driver.virtual_time import run
from testbench.unit.driver_setup import Setup


def test_a_device_that_needs_a_reset():
    async def scenario(platform):
        setup = Setup(platform, queue_size=8)
        await setup.driver.start()
        waiting = platform.spawn(setup.driver.receive())
        await platform.sleep(10)
        ring = setup.driver.transmitters[0].ring
        setup.memory.write_u16(ring.descriptors + formats.DESC_FLAGS_OFFSET, formats.DESC_AVAIL | formats.DESC_INDIRECT)
        await setup.driver.transmitters[0].kick()
        with pytest.raises(DeviceError, match="needs a reset"):
            await waiting
        assert "INDIRECT without" in str(setup.nic.error)
        with pytest.raises(DeviceError, match="needs a reset"):
            await setup.driver.receive()
        await setup.driver.stop()
        await setup.driver.start()
        await setup.driver.send(bytes(60))
        assert await setup.driver.receive() == bytes(60)
        await setup.close()
    run(scenario)


def write_into_transmit_buffer(queue, chain, written):
    queue._memory.device_write(chain.elements[0].address, b"x")


def read_beyond_the_buffer(queue, chain, written):
    queue._memory.device_read(chain.elements[-1].address, chain.elements[-1].length + 1)


def write_the_driver_area(queue, chain, written):
    queue._memory.device_write(queue._driver, bytes(4))


def read_after_use(queue, chain, written):
    use(queue, chain, written)
    use.after.append(lambda: queue._memory.device_read(chain.elements[0].address, 1))


def wrong_id(queue, chain, written):
    use(queue, type(chain)(chain.id ^ 0x8000, chain.elements), written)


def use_twice(queue, chain, written):
    use(queue, chain, written)
    use(queue, chain, written)


def too_many_bytes(queue, chain, written):
    use(queue, chain, chain.capacity + 1)


use = PackedQueue.use


@pytest.mark.parametrize("sabotage, error, message", [
    (write_into_transmit_buffer, OwnershipError, "device write"),
    (read_beyond_the_buffer, OwnershipError, "device read"),
    (write_the_driver_area, OwnershipError, "device write"),
    (read_after_use, OwnershipError, "device read"),
    (wrong_id, DeviceError, "not in flight"),
    (use_twice, DeviceError, "not in flight"),
    (too_many_bytes, DeviceError, "bytes written to buffer"),
])
def test_sabotage_is_found_out(monkeypatch, sabotage, error, message):
    async def scenario(platform):
        setup = Setup(platform, queue_size=4, loop=False)
        await setup.driver.start()
        monkeypatch.setattr(PackedQueue, "use", sabotage)
        use.after = []
        with pytest.raises(error, match=message):
            await setup.driver.send_many([bytes(60)] * 2)
            await setup.driver.flush()
            for access in use.after:
                access()
    run(scenario)


@pytest.mark.parametrize("header", [bytes(12), bytes([1]) + bytes(9) + b"\1\0", bytes(10) + b"\2\0"])
def test_a_wrong_receive_header_is_found_out(header):
    async def scenario(platform):
        setup = Setup(platform)
        await setup.driver.start()
        setup.nic.datapath._header = lambda frame, buffers: header
        setup.nic.receive(bytes(60))
        with pytest.raises(DeviceError, match="where 00000000000000000000" "0100 was expected"):
            await setup.driver.receive()
    run(scenario)


def test_a_touch_after_stop_is_found_out():
    async def scenario(platform):
        setup = Setup(platform)
        await setup.driver.start()
        queue = setup.nic.datapath._queues[1].ring
        await setup.driver.stop()
        with pytest.raises(OwnershipError):
            queue.fetch()
    run(scenario)
