# SPDX-License-Identifier: GPL-2.0-or-later
"""
A terminal that is taken over for a while, and given back as it was.
"""

import os
import re
import select
import sys
import termios
import tty

from rich.console import Console
from rich.live import Live
from rich.text import Text

# What terminals send for the keys that are no characters
NAMES = {"\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down",
         "\x1b": "back", "\r": "enter", "\n": "enter", "j": "down",
         "k": "up", "b": "back"}

# One key among several that came at once
KEY = re.compile(r"\x1b[\[O][A-Z]|.", re.DOTALL)

# How soon a signal is noticed, in seconds
SLICE_S = 0.1


class Keys:
    """
    Single keys from a terminal, without an echo; none if there is none.

    To be used in a ``with`` statement, which puts everything back.
    """

    def __init__(self, stream=None):
        stream = stream or sys.stdin
        self._fd = stream.fileno() if stream.isatty() else None
        self._before = None
        self._pressed = []

    def __enter__(self):
        if self._fd is not None:
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
        return self

    def __exit__(self, *_):
        if self._before:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def wait(self, stop, seconds):
        """The next key within that time, or None; ends early on a stop."""
        while seconds > 0 and not stop.is_set() and not self._pressed:
            part = min(seconds, SLICE_S)
            seconds -= part
            if self._fd is None:
                stop.wait(part)
            elif select.select([self._fd], [], [], part)[0]:
                data = os.read(self._fd, 32).decode(errors="replace")
                if not data:
                    # The terminal has gone; there is nothing to wait for.
                    self._fd = None
                self._pressed += KEY.findall(data)
        if not self._pressed:
            return None
        key = self._pressed.pop(0)
        return NAMES.get(key, key)


class Screen:
    """Lines on the whole terminal."""

    def __init__(self):
        self.console = Console(highlight=False)
        self._live = Live(console=self.console, screen=True,
                          auto_refresh=False, transient=True)

    def __enter__(self):
        self._live.__enter__()
        return self

    def __exit__(self, *about):
        return self._live.__exit__(*about)

    @property
    def height(self):
        """How many lines there are now."""
        return self.console.size.height

    def show(self, lines):
        """These lines, (text, style) each, instead of those before."""
        text = Text(no_wrap=True, overflow="crop", end="")
        for number, (line, style) in enumerate(lines[:self.height]):
            text.append(("\n" if number else "") + line, style=style or "")
        self._live.update(text, refresh=True)
