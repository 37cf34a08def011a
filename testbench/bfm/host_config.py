"""Keeps the host's `Rules` in step with what is written to configuration space.

Source: PCI Express Base Specification, Revision 4.0, sections 7.5.1.1.3 (Command) and 7.5.3.4 (Device Control).
"""

__all__ = ["ConfigWatch"]

COMMAND = 0x04
STATUS = 0x06
CAPABILITIES = 0x34
STATUS_CAPABILITIES = 1 << 4
CAPABILITY_EXPRESS = 0x10
BUS_MASTER = 1 << 2
DEVICE_CONTROL = 8              # from the capability's start
EXTENDED_TAG = 1 << 8
FLR = 1 << 15
CONTROL_RESET = 2 << 12         # 128 bytes of payload, 512 of read request


class ConfigWatch:
    """Follows the Command and Device Control registers of one function.

    What a write allows holds from when it is sent, what it forbids from when it is completed: in between the function
    may have taken it or not.

    Attributes
    ----------
    express : int or None
        offset of the PCI Express capability; until it is known, Device Control isn't followed
    """

    def __init__(self, rules, function):
        self._rules = rules
        self._function = function
        self.express = None
        self.reset()

    def reset(self):
        """As after a reset of the function."""
        self._command = 0
        self._control = CONTROL_RESET

    async def find_express(self, read):
        """Walk the capability list with `read(offset, size)`."""
        if not await read(STATUS, 2) & STATUS_CAPABILITIES:
            return
        at = await read(CAPABILITIES, 1) & 0xfc
        while at:
            if await read(at, 1) == CAPABILITY_EXPRESS:
                self.express = at
                return
            at = await read(at + 1, 1) & 0xfc

    def sent(self, offset, data):
        """A write of `data` is on its way."""
        self._command = _overlay(self._command, COMMAND, offset, data)
        if self.express is not None:
            self._control = _overlay(self._control, self.express + DEVICE_CONTROL, offset, data)
        rules = self._rules
        rules.bus_master |= self._bus_master
        rules.extended_tags |= self._extended_tags
        rules.mps, rules.mrrs = max(rules.mps, self._mps), max(rules.mrrs, self._mrrs)

    def completed(self):
        """The write has been completed. Returns whether it was a function level reset."""
        rules = self._rules
        if self._control & FLR:
            self.reset()
            rules.reset()
            return True
        rules.requester = self._function
        rules.bus_master, rules.extended_tags = self._bus_master, self._extended_tags
        rules.mps, rules.mrrs = self._mps, self._mrrs
        return False

    @property
    def stops_requests(self):
        """What was sent last switches Bus Master Enable off, or resets the function, which may be the master now."""
        return self._rules.bus_master and (not self._bus_master or bool(self._control & FLR))

    @property
    def _bus_master(self):
        return bool(self._command & BUS_MASTER)

    @property
    def _extended_tags(self):
        return bool(self._control & EXTENDED_TAG)

    @property
    def _mps(self):
        return 128 << (self._control >> 5 & 7)

    @property
    def _mrrs(self):
        return 128 << (self._control >> 12 & 7)


def _overlay(value, at, offset, data):
    """The 16-bit register at `at`, which holds `value`, after a write of `data` at `offset`."""
    register = bytearray(value.to_bytes(2, "little"))
    for i, byte in enumerate(data):
        if 0 <= offset + i - at < 2:
            register[offset + i - at] = byte
    return int.from_bytes(register, "little")
