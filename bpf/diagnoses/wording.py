"""Numbers as a diagnosis writes them into its sentences: short, with units, never too exact."""

from __future__ import annotations


def count(value: float) -> str:
    """``18,400``; small ones with what matters: ``0.35``."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def octets(value: float) -> str:
    """``256 KiB``, ``1.4 MiB``."""
    for limit, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.0f} B"


def span(seconds: float) -> str:
    """``1.2 s``, ``40 ms``, ``350 µs``."""
    for limit, factor, unit in ((0.9995e-3, 1e6, "µs"), (0.9995, 1e3, "ms")):
        if abs(seconds) < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def share(value: float) -> str:
    """``61 %``; below one percent with a digit."""
    percent = value * 100
    return f"{percent:.0f} %" if percent >= 1 or percent == 0 else f"{percent:.1g} %"


def cores(value: float) -> str:
    """``0.97 of a core``, ``a whole core``, ``1.8 cores``."""
    if 0.995 <= value < 1.05:
        return "a whole core"
    return f"{value:.2g} of a core" if value < 1 else f"{value:.2g} cores"


def kept(*lines: str) -> tuple[str, ...]:
    """The lines that say something."""
    return tuple(line for line in lines if line)
