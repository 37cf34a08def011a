"""Interrupts of the functional card: ISR status, INTx, and the MSI-X table with its pending bits.

Source: VIRTIO Version 1.4, sections "ISR status capability" and "Used Buffer Notifications"; PCI Local Bus
Specification 3.0, section 6.8.2.
"""

from model import formats, pci

__all__ = ["Interrupts"]


class Interrupts:
    """Decides how an event reaches the host.

    Parameters
    ----------
    vectors : MSI-X table entries
    config : the ConfigSpace with MSI-X control, Command and Status
    send : called with (address, data) of each MSI-X message
    """

    def __init__(self, vectors, config, send):
        self._config = config
        self._send = send
        self._level = False
        self.on_intx = None         # called with the level of INTx when it changes
        self.isr = 0
        self.table = bytearray(vectors * pci.MSIX_ENTRY.itemsize)
        self.pending = bytearray(-(-vectors // 64) * 8)
        self.restore_table()

    def restore_table(self):
        """The table after FLR: every entry masked."""
        self.table[:] = (bytes(12) + bytes([pci.MSIX_ENTRY_MASKED, 0, 0, 0])) * (len(self.table) // 16)

    def clear(self):
        """Device reset: nothing is pending."""
        self.isr = 0
        self.pending[:] = bytes(len(self.pending))
        self.update()

    # Events

    def used_buffer(self, vector):
        if self._config.msix_enabled:
            self._signal(vector)
        else:
            self.isr |= formats.ISR_QUEUE
        self.update()

    def config_change(self, vector):
        self.isr |= formats.ISR_CONFIG          # with MSI-X too
        if self._config.msix_enabled:
            self._signal(vector)
        self.update()

    def _signal(self, vector):
        if vector != formats.NO_VECTOR:
            self.pending[vector // 8] |= 1 << vector % 8
            self.update()

    def update(self):
        """Send what may be sent, and set INTx, after anything has changed."""
        status = int(self._config.header["status"]) & ~pci.STATUS_INTERRUPT
        asserted = self.isr != 0 and not self._config.msix_enabled
        self._config.header["status"] = status | (pci.STATUS_INTERRUPT if asserted else 0)
        level = asserted and not self._config.commands(pci.Command.INTERRUPT_DISABLE)
        if level != self._level:
            self._level = level
            if self.on_intx:
                self.on_intx(level)
        if (any(self.pending) and self._config.msix_enabled and not self._config.msix_masked
                and self._config.commands(pci.Command.BUS_MASTER)):
            self._send_pending()

    def _send_pending(self):
        for vector in range(len(self.table) // 16):
            entry = self.table[16 * vector:16 * vector + 16]
            if self.pending[vector // 8] >> vector % 8 & 1 and not entry[12] & pci.MSIX_ENTRY_MASKED:
                self.pending[vector // 8] &= ~(1 << vector % 8)
                self._send(int.from_bytes(entry[:8], "little"), int.from_bytes(entry[8:12], "little"))

    # Registers

    def read_isr(self, offset, size):
        value, self.isr = self.isr, 0
        self.update()
        return bytes([value])

    def read_table(self, offset, size):
        return bytes(self.table[offset:offset + size])

    def write_table(self, offset, data):
        self.table[offset:offset + len(data)] = data
        self.update()

    def read_pending(self, offset, size):
        return bytes(self.pending[offset:offset + size])
