"""Numbers as people read them: 12.3 MB, 1,234, 81.2 %; the page and the figures share them, so both say the same.

Three significant digits are what a reader compares; exact figures stand in the manifests.
"""

import math

NARROW = "\u202f"  # keeps a number and its unit on one line
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def count(number: int) -> str:
    """Return an integer with separators of thousands: 1,234."""
    return f"{number:,}"


def size(number: int) -> str:
    """Return bytes with a decimal unit, three significant digits: 12.3 MB."""
    value, unit = float(abs(number)), 0
    # 999.5 would be printed as 1000
    while value >= (999.5 if unit else 1000) and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{'−' if number < 0 else ''}{value:.{digits}f}{NARROW}{UNITS[unit]}"


def magnitude(number: float) -> str:
    """Return a large count in short form, three significant digits: 1.23 M. Below 10,000 it is exact."""
    if abs(number) < 9_999.5:
        return f"{round(number):,}"
    value, unit = float(number), ""
    for step in ("k", "M", "G", "T"):
        value, unit = value / 1000, step
        if abs(value) < 999.5:
            break
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{digits}f}{NARROW}{unit}"


def share(part: float, whole: float) -> str:
    """Return ``part`` of ``whole`` in percent; what is there is never shown as 0 %, what lacks never as 100 %."""
    if whole == 0:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        text = "<0.1"
    elif 99.9 < percent < 100:
        text = ">99.9"
    else:
        text = f"{percent:.0f}" if percent in (0, 100) else f"{percent:.1f}"
    return f"{text}{NARROW}%"


def change(before: float, after: float) -> str:
    """Return the relative change in percent with its sign: −12.3 %."""
    if before == 0:
        return "–"
    percent = 100 * (after - before) / before
    return f"{percent:+.1f}{NARROW}%".replace("-", "−")


def duration(seconds: float) -> str:
    """Return a time: 0.42 s, 12.3 s, 3 min 05 s, 2 h 05 min."""
    if seconds < 9.995:
        return f"{seconds:.2f}{NARROW}s"
    if seconds < 59.95:
        return f"{seconds:.1f}{NARROW}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{NARROW}min {whole % 60:02d}{NARROW}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}{NARROW}h {minutes % 60:02d}{NARROW}min"


def decimal(value: float) -> str:
    """Return a measured value with four significant digits, integers whole: 0.8, 12, 100,000."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if value == round(value) and abs(value) < 1e15:
        return f"{round(value):,}"
    return f"{value:,.4g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.3e}"
