# SPDX-License-Identifier: GPL-2.0-or-later
"""
What ``qemu-age top`` shows, as lines of at most 80 columns.
"""

from ..terminal import ASCII_SHADES, SHADES
from .runs import PAGE
from .top_view import BARS, HOT
from .units import pages_text, time_text

NAME = 14
BAR = 40
HEADS = ("MEM", "YOUNG", "10s", "1min", "10min", "IDLE>2m", "DIRTY/s", "PROM/m",
         "COST")
WIDTHS = (6, 6, 6, 6, 6, 7, 7, 6, 6)


def short(number, step, units):
    """A number in at most five characters; "-" for unknown."""
    if number is None:
        return "-"
    power = 0
    while number >= 999.5:
        number, power = number / step, power + 1
    digits = 1 if power and number < 99.95 else 0
    return f"{number:.{digits}f}{units[power]}"


def short_size(size):
    """Bytes: 999K, 12.3G."""
    return short(size, 1024, "BKMGTPE")


def short_count(count):
    """Pages, or guests."""
    return short(count, 1000, ["", "k", "M", "G", "T"])


def short_time(nanoseconds):
    """A time in at most five characters."""
    power, value = 0, nanoseconds / 1000
    while value >= 999.5 and power < 2:
        value, power = value / 1000, power + 1
    digits = 1 if value < 9.95 else 0
    return f"{value:.{digits}f}{('us', 'ms', 's')[power]}"


def pages(count):
    """The size of so many pages, in few characters."""
    return short_size(None if count is None else count * PAGE)


def fit(text, width):
    """A text in so many columns, cut where it is too long."""
    return text if len(text) <= width else text[:width - 1] + "~"


def cells(words):
    """The columns behind the name."""
    return " ".join(f"{word:>{width}}" for word, width
                    in zip(words, WIDTHS))


def head():
    """The line above the guests."""
    return f"{'GUEST':{NAME}} {cells(HEADS)}"


def guest_line(row, interval, dirty):
    """The line of a guest."""
    name = f"{fit(row.title, NAME):{NAME}} "
    if row.error:
        return fit(name + row.error, 80)
    rate = row.dirty * PAGE / interval if dirty else None
    return name + cells([
        pages(row.memory), pages(row.young), *map(pages, row.sets),
        pages(row.cold), short_size(rate), short_count(row.promotions),
        short_time(row.cost_ns)]) + ("!" if row.stolen else "")


def summary(rows):
    """All guests together."""
    live = [row for row in rows if not row.error]
    text = (f"{len(live)} of {len(rows)} guests, "
            f"{pages_text(sum(row.memory for row in live))}, "
            f"{pages_text(sum(row.young for row in live))} young")
    cold = sum(row.cold or 0 for row in live)
    if cold:
        text += f", {pages_text(cold)} idle for 2 min"
    if any(row.stolen for row in live):
        text += "; !: somebody else takes bits too"
    return text


def window(count, chosen, height):
    """Which lines of many are shown, so that the chosen one is among them."""
    first = min(max(chosen - height + 1, 0), max(count - height, 0))
    return first, min(first + height, count)


def bar(share, unicode):
    """A bar of so much of the whole."""
    return ("█" if unicode else "#") * round(share * BAR)


def bar_names():
    """What the bars of idle times are called."""
    names = [f"{time_text(low) if low else '0'} - {time_text(high)}"
             for low, high in zip(BARS, BARS[1:])]
    return [*names, f"{time_text(BARS[-1])} -", "never"]


def bar_lines(places, unicode):
    """Bars of idle times, over all memory."""
    sums = [sum(column) for column in zip(*(place.bars for place in places))]
    whole = max(sum(sums), 1)
    for name, count in zip(bar_names(), sums):
        yield (f"  {name:>15} {pages_text(count):>11} "
               f"{bar(count / whole, unicode)}").rstrip()


def shade(share, unicode):
    """One column of the strip; what is not quite empty can be seen."""
    shades = SHADES if unicode else ASCII_SHADES
    return shades[0] if share <= 0 else \
        shades[min(1 + int(share * (len(shades) - 1)), len(shades) - 1)]


def place_lines(figures, unicode):
    """
    Each part of memory: its figures, and its heat strip.

    The many small ones of firmware and devices would fill the screen.
    """
    whole = sum(place.memory for place in figures.places.values())
    small = [place for place in figures.places.values()
             if place.memory * 100 < whole]
    for (name, node), place in figures.places.items():
        if place.memory * 100 < whole:
            continue
        where = f"{name or 'memory'}" + \
            ("" if node is None else f", node {node}")
        yield fit(f"  {where}: {pages_text(place.memory)}, "
                  f"{pages_text(place.young)} young, "
                  f"10 s {pages(place.sets[0])}, "
                  f"idle > 2 min {pages(place.cold)}", 80)
        strip = "".join(shade(share, unicode) for share in place.strip)
        yield f"  [{strip}]"
    if small:
        yield (f"  {len(small)} small ones: "
               f"{pages_text(sum(place.memory for place in small))}, "
               f"{pages_text(sum(place.young for place in small))} young")


def range_lines(places):
    """The hottest ranges of all memory."""
    found = sorted((item for place in places for item in place.ranges),
                   key=lambda item: (-item[1], item[0]))[:5]
    for start, count, share in found:
        yield (f"  {start:#14x} {pages_text(count):>11}  young in "
               f"{share:.0%} of the harvests")


def detail(figures, row, interval, dirty, unicode=True):
    """One guest in depth."""
    places = list(figures.places.values())
    yield head()
    yield guest_line(row, interval, dirty)
    if row.error:
        return
    yield "idle for"
    yield from bar_lines(places, unicode)
    yield "young within 10 s, by address"
    yield from place_lines(figures, unicode)
    found = list(range_lines(places))
    if found:
        yield f"largest ranges young in {HOT:.0%} of the harvests or more"
        yield from found
