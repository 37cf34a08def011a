"""GTKWave save files: groups of signals of one waveform, records cut into fields, values by name.

Whatever a save file names is looked up in the waveform first, so that it never names what isn't there.
"""

import enum
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Bits", "Names", "Record", "Signal", "save_file"]

HEX, BINARY, NAMED, GROUP, GROUP_END = 0x22, 0x28, 0x2022, 0x800200, 0x1000200


@dataclass(frozen=True)
class Signal:
    """A whole signal; `path` is counted from the top module."""
    path: str

    def lines(self, wave, filters):
        found = wave.find(self.path)
        if found is None:
            return None
        name, width = found
        return [f"@{HEX if width > 1 else BINARY:x}", _with_range(name, width)]


@dataclass(frozen=True)
class Names:
    """Values by name, of signals with `bits` bits: {number: text}."""
    title: str
    bits: int
    texts: tuple

    @classmethod
    def of(cls, title, bits, texts):
        return cls(title, bits, tuple(dict(texts).items()))

    def write(self, folder):
        digits = -(-self.bits // 4)
        path = folder / f"{self.title}.filter"
        path.write_text("".join(f"{value:0{digits}x} {text}\n" for value, text in self.texts))
        return path


@dataclass(frozen=True)
class Bits:
    """Bits [low, low + width) of a signal under a name of their own, by `names` if given."""
    title: str
    path: str
    low: int
    width: int
    names: Names | None = None

    def lines(self, wave, filters):
        found = wave.find(self.path)
        if found is None:
            return None
        name, width = found
        whole = _with_range(name, width)
        # GTKWave counts the bits of a vector from its left end.
        cut = " ".join(f"({width - 1 - bit}){whole}" for bit in reversed(range(self.low, self.low + self.width)))
        label = f"{self.title}[{self.width - 1}:0]" if self.width > 1 else self.title
        if self.names is None:
            return [f"@{HEX if self.width > 1 else BINARY:x}", f"#{{{label}}} {cut}"]
        return [f"@{NAMED:x}", f"^1 {filters.path(self.names)}", f"#{{{label}}} {cut}"]


def Record(path, layout, *, only=None):
    """`Bits` of each field of a payload that follows an Amaranth layout; of `only` these if given."""
    title = re.sub(r"__payload$", "", path.rpartition(".")[2])
    parts = []
    for name, field in layout:
        if only is not None and name not in only or not field.width:
            continue
        names = None
        if isinstance(field.shape, type) and issubclass(field.shape, enum.Enum):
            names = Names.of(field.shape.__name__, field.width,
                             {int(member.value): member.name for member in field.shape})
        parts.append(Bits(f"{title}.{name}", path, field.offset, field.width, names))
    return parts


def _with_range(name, width):
    return f"{name}[{width - 1}:0]" if width > 1 else name


class _Filters:
    """Files that tell GTKWave the names of values."""

    def __init__(self, folder):
        self._folder = folder
        self._paths = {}

    def path(self, names):
        if names not in self._paths:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._paths[names] = names.write(self._folder).resolve()
        return self._paths[names]


class Waveform:
    """Names and widths of what a waveform file holds.

    `find(path)` gives (full name, width) of the signal at `path` below the module `top`, or None. The Verilog writer
    appends $ and a number to a name that occurs twice; such a name is found if there is only one.
    """

    def __init__(self, path, top):
        import pywellen
        waveform = pywellen.Waveform(str(path))
        self._widths = {}
        for var in waveform.all_vars():
            name = re.sub(r"\s*\[\d+:\d+\]$", "", _call(var.full_name))
            self._widths[name.replace("\\", "")] = _call(var.bitwidth) or 1
        tops = {name.rpartition(f"{top}.")[0] for name in self._widths if f"{top}." in name}
        self._prefix = min(tops, key=len) + top + "." if tops else f"{top}."

    def find(self, path):
        full = self._prefix + path
        if full not in self._widths:
            again = re.compile(re.escape(full) + r"(\$\d+)+")
            found = [name for name in self._widths if again.fullmatch(name)]
            if len(found) != 1:
                return None
            full = found[0]
        return full, self._widths[full]


def _call(value):
    return value() if callable(value) else value


def save_file(path, waveform, top, groups):
    """Write a save file for `waveform`; `groups` is {title: list of Signal and Bits}.

    Returns the paths that were asked for and are not in the waveform.
    """
    path, waveform = Path(path), Path(waveform)
    wave, filters, absent = Waveform(waveform, top), _Filters(path.with_suffix(".filters")), []
    lines = ["[*] written by make waves", f'[dumpfile] "{waveform.resolve()}"', "[timestart] 0", "[sst_width] 260",
             "[signals_width] 320", "*-14.0 0"]
    for title, items in groups.items():
        lines += [f"@{GROUP:x}", f"-{title}"]
        for item in items:
            found = item.lines(wave, filters)
            if found is None:
                absent.append(item.path)
            else:
                lines += found
        lines += [f"@{GROUP_END:x}", f"-{title}"]
    path.write_text("\n".join(lines) + "\n")
    return absent
