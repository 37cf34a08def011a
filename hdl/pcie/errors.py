"""Error logging and signalling of the function."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .config_map import Uncorrectable

__all__ = ["ErrorControls", "ErrorReporter", "RequestErrors"]


class RequestErrors(data.Struct):
    """What is wrong with a received request; each bit for one cycle.

    Fields
    ------
    malformed : the TLP breaks a format rule
    unsupported : nobody here answers to it
    aborted : it reaches our memory, but breaks the rules for access to it
    poisoned : its payload is marked bad
    header : of the request, while any of them is 1
    """
    malformed: 1
    unsupported: 1
    aborted: 1
    poisoned: 1
    header: 128


class ErrorControls(data.Struct):
    """Control bits that decide what is signalled; names as in the configuration space."""
    correctable_enable: 1
    nonfatal_enable: 1
    fatal_enable: 1
    unsupported_enable: 1
    serr_enable: 1
    parity_error_response: 1
    advisory_mask: 1


class ErrorReporter(wiring.Component):
    """Turns detected errors into status bits, a header log and requests for error messages, in the same cycle.

    PCI Express Base Specification 4.0, figure 6-2. An error is advisory, that is signalled as correctable, when the
    other side learns of it anyway: a request that is answered by a completion with an error status, and an unexpected
    completion. It stays non-fatal (or what its severity says) when something is lost: posted requests, timeouts,
    poisoned completions. Errors of several sources in one cycle are all recorded; one header is logged, that of a
    posted request before others. A masked error sets its status bit only.

    Attributes
    ----------
    posted, nonposted : In(RequestErrors)
        of posted or malformed requests, which get no completion, and of those that get one
    unexpected_completion, completion_timeout, poisoned_completion : In(1)
        of our own requests, each for one cycle
    completion_header : In(128)
        with `unexpected_completion` or `poisoned_completion`
    controls : In(ErrorControls)
    status, mask, severity : In(len(Uncorrectable))
        bits of the three registers, in the order of `Uncorrectable`
    status_set : Out(len(Uncorrectable))
    advisory_set, correctable_set, nonfatal_set, fatal_set, unsupported_set : Out(1)
        of the correctable error status and the device status register
    signalled_target_abort, signalled_system_error, detected_parity_error, master_data_parity : Out(1)
        of the PCI status register
    first_error, header_log : Out
        survive everything but a power-on reset
    err_cor, err_nonfatal, err_fatal : Out(1)
        ask for a message, for one cycle
    """

    posted: In(RequestErrors)
    nonposted: In(RequestErrors)
    unexpected_completion: In(1)
    completion_timeout: In(1)
    poisoned_completion: In(1)
    completion_header: In(128)
    controls: In(ErrorControls)
    status: In(len(Uncorrectable))
    mask: In(len(Uncorrectable))
    severity: In(len(Uncorrectable))
    status_set: Out(len(Uncorrectable))
    advisory_set: Out(1)
    correctable_set: Out(1)
    nonfatal_set: Out(1)
    fatal_set: Out(1)
    unsupported_set: Out(1)
    signalled_target_abort: Out(1)
    signalled_system_error: Out(1)
    detected_parity_error: Out(1)
    master_data_parity: Out(1)
    first_error: Out(5)
    header_log: Out(128)
    err_cor: Out(1)
    err_nonfatal: Out(1)
    err_fatal: Out(1)

    def elaborate(self, platform):
        m = Module()
        # (happens, error, advisory, header); the last one that happens is logged
        posted, nonposted = self.posted, self.nonposted
        sources = [
            (self.completion_timeout, Uncorrectable.COMPLETION_TIMEOUT, False, None),
            (self.unexpected_completion, Uncorrectable.UNEXPECTED_COMPLETION, True, self.completion_header),
            (self.poisoned_completion, Uncorrectable.POISONED, False, self.completion_header),
            (nonposted.poisoned, Uncorrectable.POISONED, True, nonposted.header),
            (nonposted.unsupported, Uncorrectable.UNSUPPORTED_REQUEST, True, nonposted.header),
            (nonposted.aborted, Uncorrectable.COMPLETER_ABORT, True, nonposted.header),
            (posted.poisoned, Uncorrectable.POISONED, False, posted.header),
            (posted.unsupported, Uncorrectable.UNSUPPORTED_REQUEST, False, posted.header),
            (posted.aborted, Uncorrectable.COMPLETER_ABORT, False, posted.header),
            (posted.malformed, Uncorrectable.MALFORMED, False, posted.header),
        ]
        self._keep_log(m)
        for happens, error, advisory, header in sources:
            with m.If(happens):
                self._report(m, error, advisory, header)
        m.d.comb += [
            self.signalled_target_abort.eq(posted.aborted | nonposted.aborted),
            self.detected_parity_error.eq(posted.poisoned | nonposted.poisoned | self.poisoned_completion),
            self.master_data_parity.eq(self.poisoned_completion & self.controls.parity_error_response),
            self.signalled_system_error.eq((self.err_fatal | self.err_nonfatal) & self.controls.serr_enable),
        ]
        return m

    def _keep_log(self, m):
        """The log is taken until software clears the status bit that it belongs to."""
        free, logged, cleared = Signal(), Signal(), Signal()
        # What would be logged now.
        self._log, self._error, self._header = Signal(), Signal.like(self.first_error), Signal.like(self.header_log)
        with m.Switch(self.first_error):
            for index, error in enumerate(Uncorrectable):
                with m.Case(error.value):
                    m.d.comb += cleared.eq(~self.status[index])
        m.d.comb += free.eq(~logged | cleared)
        m.d.sync += logged.eq(self._log | ~free)
        with m.If(self._log & free):
            m.d.sync += [self.first_error.eq(self._error), self.header_log.eq(self._header)]

    def _report(self, m, error, advisory, header):
        controls = self.controls
        index = list(Uncorrectable).index(error)
        unsupported = error is Uncorrectable.UNSUPPORTED_REQUEST
        wanted = controls.unsupported_enable if unsupported else 1
        if unsupported:
            m.d.comb += self.unsupported_set.eq(1)
        with m.If(advisory & ~self.severity[index]):
            m.d.comb += [self.correctable_set.eq(1), self.advisory_set.eq(1)]
            with m.If(~controls.advisory_mask):
                m.d.comb += self.status_set[index].eq(1)
                self._log_header(m, index, error, header)
                with m.If(controls.correctable_enable & wanted):
                    m.d.comb += self.err_cor.eq(1)
        with m.Else():
            m.d.comb += self.status_set[index].eq(1)
            with m.If(~self.mask[index]):
                self._log_header(m, index, error, header)
            with m.If(self.severity[index]):
                m.d.comb += self.fatal_set.eq(1)
                with m.If(~self.mask[index] & (controls.serr_enable | (controls.fatal_enable & wanted))):
                    m.d.comb += self.err_fatal.eq(1)
            with m.Else():
                m.d.comb += self.nonfatal_set.eq(1)
                with m.If(~self.mask[index] & (controls.serr_enable | (controls.nonfatal_enable & wanted))):
                    m.d.comb += self.err_nonfatal.eq(1)

    def _log_header(self, m, index, error, header):
        with m.If(~self.mask[index]):
            m.d.comb += [
                self._log.eq(1), self._error.eq(error.value),
                self._header.eq(self.header_log if header is None else header),
            ]
