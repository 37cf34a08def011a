"""Virtio over PCI: finds the structures, negotiates features, sets up queues, reads configuration, rings doorbells.

Source: VIRTIO Version 1.4, sections "Virtio Over PCI Bus" and "General Initialization And Device Operation".
"""

from dataclasses import dataclass

import numpy as np

from model import formats, pci
from model.formats import CapType, Feature, Status
from testbench.driver.platform import DeviceError, DriverError, NegotiationError

__all__ = ["QueueSetup", "Structure", "VirtioPci"]

_LEAST_LENGTH = {CapType.COMMON: 56, CapType.NOTIFY: 2, CapType.ISR: 1, CapType.DEVICE: 1}


@dataclass(frozen=True)
class Structure:
    """A virtio structure: `address` on the bus, `length` in bytes, `capability` its offset in configuration space."""
    kind: int
    address: int
    length: int
    capability: int


@dataclass(frozen=True)
class QueueSetup:
    """What a queue is enabled with: addresses of its three areas, size in descriptors, vector or None."""
    size: int
    descriptors: int
    driver: int
    device: int
    vector: int | None = None


class VirtioPci:
    """The virtio side of an enumerated PciFunction; call `discover` first.

    Every access has the width the specification demands: that of the field, 64-bit fields as two of 32 bits.

    Attributes
    ----------
    structures : CapType → the first usable Structure of that type
    features : what was negotiated, a mask
    """

    def __init__(self, function, platform):
        self._function = function
        self._host = function.host
        self._platform = platform
        self.structures = {}
        self.features = 0
        self._multiplier = 0
        self._cookies = {}          # virtqueue → queue_notif_config_data

    # Structures

    async def discover(self):
        """Find the structures. Unknown types and BARs are passed over, longer ones are accepted."""
        self.structures = {}
        for capability in self._function.capabilities:
            if capability.id == pci.CapId.VENDOR:
                await self._note_structure(capability.offset)
        missing = [kind.name for kind in _LEAST_LENGTH if kind not in self.structures]
        if missing:
            raise DriverError(f"no usable virtio structure {', '.join(missing)}")
        at = self.structures[CapType.NOTIFY].capability
        self._multiplier = await self._function.read(formats.VIRTIO_PCI_NOTIFY_CAP, "notify_off_multiplier", at)

    async def _note_structure(self, at):
        data = await self._function.read_bytes(at, formats.VIRTIO_PCI_CAP.itemsize)
        cap = np.frombuffer(data, formats.VIRTIO_PCI_CAP)[0]
        kind, bar = int(cap["cfg_type"]), self._function.bars.get(int(cap["bar"]))
        if kind == CapType.PCI:
            self.structures.setdefault(CapType.PCI, Structure(kind, 0, 0, at))
        elif (kind in _LEAST_LENGTH and kind not in self.structures and bar is not None
                and cap["length"] >= _LEAST_LENGTH[kind] and int(cap["offset"]) + int(cap["length"]) <= bar.size):
            address = bar.address + int(cap["offset"])
            self.structures[CapType(kind)] = Structure(kind, address, int(cap["length"]), at)

    # Common configuration

    async def read(self, name):
        """A field of the common configuration."""
        return await self._read_field(CapType.COMMON, formats.COMMON_CFG, name)

    async def write(self, name, value):
        offset, size = formats.field(formats.COMMON_CFG, name)
        address = self.structures[CapType.COMMON].address + offset
        for part in range(0, size, 4):
            await self._host.mmio_write(address + part, value >> 8 * part & (1 << 8 * min(size, 4)) - 1, min(size, 4))

    async def _read_field(self, kind, dtype, name):
        offset, size = formats.field(dtype, name)
        address = self.structures[kind].address + offset
        value = 0
        for part in range(0, size, 4):
            value |= await self._host.mmio_read(address + part, min(size, 4)) << 8 * part
        return value

    # Status

    async def status(self):
        return Status(await self.read("device_status"))

    async def set_status(self, bits):
        """Add bits; none is ever cleared but by `reset`."""
        await self.write("device_status", await self.status() | bits)

    async def reset(self, *, poll_ns=100, timeout_ns=10_000_000):
        """Write 0 and wait for it to read 0: from then on the device touches no memory."""
        await self.write("device_status", 0)
        deadline = self._platform.now() + timeout_ns
        while await self.read("device_status"):
            if self._platform.now() > deadline:
                raise DriverError(f"reset not finished after {timeout_ns} ns")
            await self._platform.sleep(poll_ns)
        self.features = 0
        self._cookies = {}

    async def fail(self):
        """Give the device up. It needs a reset before it is used again."""
        await self.set_status(Status.FAILED)

    # Features

    async def offered(self):
        """Mask of the features offered."""
        mask = 0
        for window in range(formats.FEATURE_WINDOWS):
            await self.write("device_feature_select", window)
            mask |= await self.read("device_feature") << 32 * window
        return mask

    async def negotiate(self, *, required, wanted=0):
        """Accept `required` and as much as is offered of `wanted`, both masks. Returns what was accepted.

        Raises `NegotiationError` if a required feature is not offered or the device refuses the set.
        """
        offered = await self.offered()
        if missing := required & ~offered:
            raise NegotiationError(f"not offered: {', '.join(formats.feature_names(missing))}")
        accepted = required | wanted & offered
        while lacking := formats.lacking_prerequisites(accepted):
            accepted &= ~formats.feature_set(*lacking)
        if dropped := required & ~accepted:
            raise NegotiationError(f"prerequisites not offered: {', '.join(formats.feature_names(dropped))}")
        await self.force_features(accepted)
        return accepted

    async def force_features(self, accepted):
        """Write exactly `accepted`, sensible or not, and FEATURES_OK. Raises `NegotiationError` if that is refused."""
        for window in range(formats.FEATURE_WINDOWS):
            await self.write("driver_feature_select", window)
            await self.write("driver_feature", accepted >> 32 * window & 0xffff_ffff)
        await self.set_status(Status.FEATURES_OK)
        if not await self.status() & Status.FEATURES_OK:
            raise NegotiationError(f"the device refused: {', '.join(formats.feature_names(accepted))}")
        self.features = accepted

    # Queues

    async def queue_limit(self, index):
        """Largest size of a queue, 0 if there is no such queue."""
        await self.write("queue_select", index)
        return await self.read("queue_size")

    async def set_up_queue(self, index, setup):
        """Configure and enable a queue; returns the address of its doorbell."""
        await self.write("queue_select", index)
        await self.write("queue_size", setup.size)
        await self.write("queue_desc", setup.descriptors)
        await self.write("queue_driver", setup.driver)
        await self.write("queue_device", setup.device)
        await self._map_vector("queue_msix_vector", setup.vector)
        notify_offset = await self.read("queue_notify_off") * self._multiplier
        notify = self.structures[CapType.NOTIFY]
        if notify_offset + (4 if self._has(Feature.NOTIFICATION_DATA) else 2) > notify.length:
            raise DriverError(f"doorbell of queue {index} at {notify_offset:#x} is outside of {notify.length:#x} bytes")
        if self._has(Feature.NOTIF_CONFIG_DATA):
            self._cookies[index] = await self.read("queue_notif_config_data")
        await self.write("queue_enable", 1)
        return notify.address + notify_offset

    async def reset_queue(self, index, *, poll_ns=100, timeout_ns=10_000_000):
        """With VIRTIO_F_RING_RESET: reset one queue, and wait until the device has done so: then it no longer touches
        what it had of it. Nothing else may select a queue meanwhile."""
        await self.write("queue_select", index)
        await self.write("queue_reset", 1)
        deadline = self._platform.now() + timeout_ns
        while await self.read("queue_reset"):
            if self._platform.now() > deadline:
                raise DriverError(f"reset of queue {index} not finished after {timeout_ns} ns")
            await self._platform.sleep(poll_ns)
        if await self.read("queue_enable"):
            raise DeviceError(f"queue {index} is still enabled after its reset")

    async def map_config_vector(self, vector):
        await self._map_vector("config_msix_vector", vector)

    async def _map_vector(self, name, vector):
        vector = formats.NO_VECTOR if vector is None else vector
        await self.write(name, vector)
        if await self.read(name) != vector:
            raise DriverError(f"the device could not map {name} to {vector}")

    def doorbell(self, index, next_offset, next_wrap):
        """What is written to the doorbell of a queue that was set up, with the features negotiated: (value, size).

        `next_offset`, `next_wrap` : where the next descriptor will be made available
        """
        value = self._cookies.get(index, index)
        if self._has(Feature.NOTIFICATION_DATA):
            return value | next_offset << 16 | next_wrap << 31, 4
        return value, 2

    def _has(self, feature):
        return formats.has_feature(self.features, feature)

    # Device configuration and ISR

    async def read_config(self, *names):
        """Fields of struct virtio_net_config, all of one generation; a single one alone, several as a tuple.
        `mac` comes as bytes."""
        while True:
            generation = await self.read("config_generation")
            values = tuple([await self._read_config_field(name) for name in names])
            if await self.read("config_generation") == generation:
                return values[0] if len(values) == 1 else values

    async def _read_config_field(self, name):
        if name != "mac":
            return await self._read_field(CapType.DEVICE, formats.VIRTIO_NET_CONFIG, name)
        address = self.structures[CapType.DEVICE].address
        return bytes([await self._host.mmio_read(address + i, 1) for i in range(6)])

    async def read_isr(self):
        """ISR status; reading clears it and de-asserts INTA."""
        return await self._host.mmio_read(self.structures[CapType.ISR].address, 1)

    # The window for hosts that can't reach the BAR

    async def window_read(self, bar, offset, size):
        """Read `size` bytes, 1, 2 or 4, of a virtio structure through VIRTIO_PCI_CAP_PCI_CFG."""
        return await self._host.config_read(await self._aim(bar, offset, size), size)

    async def window_write(self, bar, offset, value, size):
        """Write likewise."""
        await self._host.config_write(await self._aim(bar, offset, size), value, size)

    async def _aim(self, bar, offset, size):
        """Point the window at [offset, +size) of a BAR; returns where pci_cfg_data is."""
        if offset % size:
            raise DriverError(f"offset {offset:#x} is no multiple of {size}")
        address = self._function.bars[bar].address + offset
        if not any(structure.address <= address and address + size <= structure.address + structure.length
                   for structure in self.structures.values()):
            raise DriverError(f"no virtio structure has {size} bytes at {offset:#x}")
        at = self.structures[CapType.PCI].capability
        for name, value in (("bar", bar), ("length", size), ("offset", offset)):
            await self._function.write(formats.VIRTIO_PCI_CFG_CAP, name, value, at)
        return at + formats.field(formats.VIRTIO_PCI_CFG_CAP, "pci_cfg_data")[0]
