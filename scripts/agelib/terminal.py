# SPDX-License-Identifier: GPL-2.0-or-later
"""
What looks good in a terminal and reads well in a pipe.

Colour, bars and lines that change are for terminals only; NO_COLOR is
honoured; characters beyond ASCII are used only where they can be shown.
"""

import itertools
import os
import sys

WIDTH = 80

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32",
          "yellow": "33", "blue": "34", "cyan": "36"}

# From cold to hot: the shades of a map, and the colour each is shown in
SHADES = " ░▒▓█"
ASCII_SHADES = " .:*#"
HEAT = ("dim", "blue", "cyan", "yellow", "red")

PLAIN = {"·": "-", "–": "-", "…": "...", "✔": "ok:", "✘": "not ok:",
         "─": "-", "│": "|"}


class Terminal:
    """One output stream and what it can show."""

    def __init__(self, stream=None):
        self.stream = stream or sys.stdout
        self.tty = self.stream.isatty()
        dumb = os.environ.get("TERM", "dumb") == "dumb"
        self.live = self.tty and not dumb
        self.colour = self.live and not os.environ.get("NO_COLOR")
        encoding = (self.stream.encoding or "ascii").lower()
        self.unicode = encoding.replace("-", "") == "utf8"

    def style(self, text, *names):
        """The text in a style, where there are styles."""
        if not self.colour or not names:
            return text
        codes = ";".join(STYLES[name] for name in names)
        return f"\033[{codes}m{text}\033[0m"

    def line(self, text=""):
        """One line, at once."""
        self._erase()
        self.stream.write(self._plain(text).rstrip() + "\n")
        self.stream.flush()

    def status(self, text):
        """A line that the next one replaces; nothing in a pipe."""
        if self.live:
            self._erase()
            self.stream.write(self._plain(text))
            self.stream.flush()

    def rule(self):
        """A line across the page."""
        self.line(self.style("─" * (WIDTH - 1), "dim"))

    def map(self, shares):
        """One character for each share between 0 and 1: a map of heat."""
        shades = SHADES if self.unicode else ASCII_SHADES
        levels = [self._level(share) for share in shares]
        return "".join(
            self.style(shades[level] * len(list(cells)), HEAT[level])
            for level, cells in itertools.groupby(levels))

    @staticmethod
    def _level(share):
        """Anything at all shows, and only what is nearly full looks full."""
        top = len(SHADES) - 1
        return 0 if share <= 0 else min(1 + int(share * top), top)

    def _erase(self):
        if self.live:
            self.stream.write("\r\033[K")

    def _plain(self, text):
        if not self.unicode:
            for fancy, plain in PLAIN.items():
                text = text.replace(fancy, plain)
            text = text.encode("ascii", "replace").decode()
        return text


def thousands(number):
    """A count in groups of three digits."""
    return f"{number:,}".replace(",", " ")
