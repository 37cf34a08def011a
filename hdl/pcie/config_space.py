"""The function's configuration space: registers, power state, error reporting, and what follows from them."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.regs import RegisterBus, RegisterFile

from .config_map import MAX_PAYLOAD_CODE, Uncorrectable, config_map
from .errors import ErrorReporter, RequestErrors

__all__ = ["ConfigSpace"]

# Register fields that blocks outside see as they are
CONTROLS = {"interrupt_disable": 1, "msix_enable": 1, "msix_function_mask": 1, "extended_tag_enable": 1,
            "completion_timeout": 4, "completion_timeout_disable": 1, "relaxed_ordering_enable": 1,
            "no_snoop_enable": 1, "window_bar": 8, "window_offset": 32, "window_length": 32}
CORRECTABLE_CONTROLS = ("correctable_enable", "nonfatal_enable", "fatal_enable", "unsupported_enable", "serr_enable",
                        "parity_error_response", "advisory_mask")


class ConfigSpace(wiring.Component):
    """Configuration space of one function; the registers are those of `config_map`.

    Parameters
    ----------
    layout : BarLayout
    ids : dict
        `subsystem_vendor` and `subsystem_device`, where not the defaults of `config_map`

    Attributes
    ----------
    bus : In(RegisterBus())
    clear : In(1)
        function level reset: every register that is not sticky returns to its reset value
    initiate_flr : Out(1)
        pulse: software asks for a function level reset
    base : Out(64 - layout.size_bits)
        of BAR 0
    memory_enable : Out(1)
        memory requests are accepted: Memory Space Enable in D0, and the function is not being reset
    bus_master_enable : Out(1)
        we may issue memory requests: Bus Master Enable in D0
    max_payload, max_read_request : Out(3)
        codes; what software should not have written is read as the largest value that is allowed
    flr_busy, transactions_pending, isr_pending : In(1)
    interrupt : Out(1)
        level that INTA shall have
    posted_errors, nonposted_errors : In(RequestErrors)
    unexpected_completion, completion_timeout_error, poisoned_completion, unsupported_received, abort_received : In(1)
        of our own requests, each for one cycle
    completion_header : In(128)
    err_cor, err_nonfatal, err_fatal : Out(1)
        ask for a message, for one cycle
    others : Out
        fields of `CONTROLS`
    """

    def __init__(self, layout, **ids):
        self.layout = layout
        self.map = config_map(layout, **ids)
        super().__init__({
            "bus": In(RegisterBus()), "clear": In(1), "initiate_flr": Out(1),
            "base": Out(64 - layout.size_bits), "memory_enable": Out(1), "bus_master_enable": Out(1),
            "max_payload": Out(3), "max_read_request": Out(3),
            "flr_busy": In(1), "transactions_pending": In(1), "isr_pending": In(1), "interrupt": Out(1),
            "posted_errors": In(RequestErrors), "nonposted_errors": In(RequestErrors),
            "unexpected_completion": In(1), "completion_timeout_error": In(1), "poisoned_completion": In(1),
            "unsupported_received": In(1), "abort_received": In(1), "completion_header": In(128),
            "err_cor": Out(1), "err_nonfatal": Out(1), "err_fatal": Out(1),
            **{name: Out(width) for name, width in CONTROLS.items()},
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = RegisterFile(self.map)
        m.submodules.errors = errors = ErrorReporter()
        wiring.connect(m, wiring.flipped(self.bus), registers.bus)
        m.d.comb += registers.clear.eq(self.clear)
        m.d.comb += [getattr(self, name).eq(getattr(registers, name)) for name in CONTROLS]
        awake = self._keep_power_state(m, registers)
        intx_pending = self.isr_pending & ~registers.msix_enable
        m.d.comb += [
            registers.initiate_flr.eq(0),
            self.initiate_flr.eq(registers.initiate_flr_strobe & registers.initiate_flr_data),
            self.base.eq(Cat(registers.bar0_low, registers.bar0_high)),
            self.max_payload.eq(Mux(registers.max_payload > MAX_PAYLOAD_CODE, MAX_PAYLOAD_CODE,
                                    registers.max_payload)),
            self.max_read_request.eq(Mux(registers.max_read_request > 5, 5, registers.max_read_request)),
            registers.transactions_pending.eq(self.transactions_pending),
            registers.interrupt_status.eq(intx_pending),
        ]
        # One register between these and whatever they lead to
        m.d.sync += [
            self.memory_enable.eq(registers.memory_space_enable & awake & ~self.flr_busy),
            self.bus_master_enable.eq(registers.bus_master_enable & awake),
            self.interrupt.eq(intx_pending & ~registers.interrupt_disable & awake),
        ]
        self._connect_error_inputs(m, registers, errors)
        self._connect_error_outputs(m, registers, errors)
        return m

    def _keep_power_state(self, m, registers):
        """D0 or D3hot; a write of D1 or D2, which we don't have, is discarded."""
        asleep = Signal()
        written = registers.power_state_data
        m.d.comb += registers.power_state.eq(asleep.replicate(2))
        with m.If(registers.power_state_strobe & (written[0] == written[1])):
            m.d.sync += asleep.eq(written[0])
        with m.If(self.clear):
            m.d.sync += asleep.eq(0)
        return ~asleep

    def _connect_error_inputs(self, m, registers, errors):
        m.d.comb += [
            errors.posted.eq(self.posted_errors),
            errors.nonposted.eq(self.nonposted_errors),
            errors.unexpected_completion.eq(self.unexpected_completion),
            errors.completion_timeout.eq(self.completion_timeout_error),
            errors.poisoned_completion.eq(self.poisoned_completion),
            errors.completion_header.eq(self.completion_header),
        ]
        m.d.comb += [errors.controls[name].eq(getattr(registers, name)) for name in CORRECTABLE_CONTROLS]
        for index, error in enumerate(Uncorrectable):
            name = error.name.lower()
            m.d.comb += [
                errors.status[index].eq(getattr(registers, f"{name}_status")),
                errors.mask[index].eq(getattr(registers, f"{name}_mask")),
                errors.severity[index].eq(getattr(registers, f"{name}_severity")),
                getattr(registers, f"{name}_status_set").eq(errors.status_set[index]),
            ]

    def _connect_error_outputs(self, m, registers, errors):
        m.d.comb += [
            registers.advisory_status_set.eq(errors.advisory_set),
            registers.correctable_detected_set.eq(errors.correctable_set),
            registers.nonfatal_detected_set.eq(errors.nonfatal_set),
            registers.fatal_detected_set.eq(errors.fatal_set),
            registers.unsupported_detected_set.eq(errors.unsupported_set),
            registers.signalled_target_abort_set.eq(errors.signalled_target_abort),
            registers.signalled_system_error_set.eq(errors.signalled_system_error),
            registers.detected_parity_error_set.eq(errors.detected_parity_error),
            registers.master_data_parity_set.eq(errors.master_data_parity),
            registers.received_target_abort_set.eq(self.abort_received),
            registers.received_master_abort_set.eq(self.unsupported_received),
            registers.first_error.eq(errors.first_error),
            self.err_cor.eq(errors.err_cor), self.err_nonfatal.eq(errors.err_nonfatal),
            self.err_fatal.eq(errors.err_fatal),
        ]
        for n in range(4):
            m.d.comb += getattr(registers, f"header_log_{n}").eq(errors.header_log.word_select(n, 32))
