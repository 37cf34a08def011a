"""What the host's side of the link holds the device to: form of requests and of completions.

Source: PCI Express Base Specification, Revision 4.0, sections 2.2.2 to 2.2.9 and 2.3.
"""

from testbench.bfm.tlp import Kind, MessageCode, Status

__all__ = ["ProtocolError", "Rules"]

FIRST_ENABLES = (0b1000, 0b1100, 0b1110, 0b1111)
LAST_ENABLES = (0b0001, 0b0011, 0b0111, 0b1111)
CONTIGUOUS = {((1 << n) - 1 << at) & 0xf for n in range(5) for at in range(4)}
DEVICE_MESSAGES = {MessageCode.ASSERT_INTA, MessageCode.DEASSERT_INTA, MessageCode.ERR_COR, MessageCode.ERR_NONFATAL,
                   MessageCode.ERR_FATAL, MessageCode.PM_PME, MessageCode.PME_TO_ACK}
STRICT = ("ring", "event", "msix")      # what is written there may overtake nothing


class ProtocolError(AssertionError):
    """The device sent something that it may not send."""


class Rules:
    """What the function has been configured for. `Host.config_write` follows what is written; others may set it.

    Attributes (with their values after reset)
    ----------
    mps, mrrs : int
        Max_Payload_Size (128) and Max_Read_Request_Size (512) in bytes; `mps` also cuts the host's completions
    extended_tags, bus_master : bool
        Extended Tag Enable, Bus Master Enable (both off)
    requester : int
        bus, device and function that the function has learnt from configuration writes; None until the first
    """

    def __init__(self):
        self.reset()

    def reset(self):
        """As after a reset of the function."""
        self.mps = 128
        self.mrrs = 512
        self.extended_tags = False
        self.bus_master = False
        self.requester = None

    def check_request(self, tlp, label, outstanding):
        """A TLP on `rq`; `label` of its address, and the tags that are `outstanding`."""
        complaint = self._about_request(tlp, label)
        if complaint is None and tlp.kind is Kind.MEMORY_READ:
            complaint = self._about_read(tlp, outstanding)
        if complaint is not None:
            raise ProtocolError(f"{complaint}: {tlp}")

    def check_completion(self, tlp, request, received):
        """A TLP on `cc` for `request`, of which `received` bytes have come before."""
        complaint = self._about_completion(tlp, request)
        if complaint is None and tlp.status == Status.SUCCESS:
            complaint = self._about_data(tlp, request, received)
        if complaint is not None:
            raise ProtocolError(f"{complaint}: {tlp} for {request}")

    # What is wrong, or None. Each TLP comes by here: nothing is formatted before it is needed.

    def _about_request(self, tlp, label):
        if tlp.poisoned or tlp.digest:
            return "poisoned, or with digest"
        if self.requester is not None and tlp.requester != self.requester:
            return f"requester id is not {self.requester:#x}"
        if tlp.kind is Kind.MESSAGE:
            return None if tlp.code in DEVICE_MESSAGES else "a message that an endpoint doesn't send"
        if tlp.kind is not Kind.MEMORY_READ and tlp.kind is not Kind.MEMORY_WRITE:
            return "neither memory request nor message"
        if not self.bus_master:
            return "memory request while Bus Master Enable is 0 (rules.bus_master)"
        address, length = tlp.address, tlp.length
        if tlp.four_dw != (address >= 1 << 32):
            return "4-DW header below, or 3-DW header for above 4 GiB"
        if (address & 0xfff) + length > 4096:
            return "crosses 4 KiB"
        if tlp.at:
            return "AT is not 0"
        if length > 4 and (tlp.first_be not in FIRST_ENABLES or tlp.last_be not in LAST_ENABLES):
            return "byte enables with a gap"
        if length == 4 and (tlp.last_be or tlp.first_be not in CONTIGUOUS):
            return "byte enables of one DW"
        return self._about_write(tlp, label) if tlp.kind is Kind.MEMORY_WRITE else None

    def _about_write(self, tlp, label):
        if tlp.length > self.mps:
            return f"longer than Max_Payload_Size, {self.mps} (rules.mps)"
        if tlp.attr & 2 and label in STRICT:
            return f"Relaxed Ordering on {label}"
        return None

    def _about_read(self, tlp, outstanding):
        if tlp.length > self.mrrs:
            return f"longer than Max_Read_Request_Size, {self.mrrs} (rules.mrrs)"
        if tlp.tag > 31 and not self.extended_tags:
            return "tag above 31 without Extended Tag Enable (rules.extended_tags)"
        if tlp.tag in outstanding:
            return "tag is outstanding"
        return None

    def _about_completion(self, tlp, request):
        if tlp.digest:
            return "with digest"
        if tlp.requester != request.requester:
            return "requester id is not the request's"
        if tlp.traffic_class != request.traffic_class or tlp.attr != request.attr:
            return "traffic class or attributes are not the request's"
        if self.requester is not None and tlp.completer != self.requester:
            return f"completer id is not {self.requester:#x}"
        if tlp.status != Status.SUCCESS and tlp.with_data:
            return "data with an error status"
        return None

    def _about_data(self, tlp, request, received):
        if request.kind is not Kind.MEMORY_READ:
            if tlp.with_data != (request.kind is Kind.CONFIG_READ):
                return "data, or none, with a configuration request"
            return None if tlp.byte_count == 4 and not tlp.lower_address else "byte count 4, lower address 0 expected"
        first, end = request.enabled()
        expected = max(1, end - first) - received
        address = request.address + first + received & 0x7f
        if tlp.byte_count != expected:
            return f"byte count is not {expected}"
        if tlp.lower_address != address:
            return f"lower address is not {address:#x}"
        if not tlp.with_data or len(tlp.payload) > self.mps:
            return "no data, or more than Max_Payload_Size"
        return None
