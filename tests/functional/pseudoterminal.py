# SPDX-License-Identifier: GPL-2.0-or-later
"""
A program in a terminal of 80x24, and what somebody sees who sits before it.
"""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import termios
import time

from agelib.qemu.patience import PATIENCE

LINES, COLUMNS = 24, 80
ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>])")

# What switches something on, and what must come after it at the end
PAIRS = (("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h"))


class PseudoTerminal:
    """
    A program, from its start to end() or close().

    @text is all that it wrote.
    """

    def __init__(self, command):
        self.text = ""
        # A character may come in two pieces.
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        ours, theirs = socket.socketpair()
        # A child that is a copy of us is not to come back from an interrupt.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            ours.close()
            self._become(command, theirs, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        # Its terminal is one from then on, where Ctrl-C is a signal.
        ours.recv(1)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ,
                    struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.before = termios.tcgetattr(self.fd)
        ours.close()

    @staticmethod
    def _become(command, parent, mask):
        """The child, once its terminal is as large as it should be."""
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            parent.send(b"!")
            parent.recv(1)
            os.execve(command[0], [str(word) for word in command],
                      os.environ | {"TERM": "xterm-256color",
                                    "LC_ALL": "C.UTF-8"})
        finally:
            # The name is that of the system call.
            # pylint: disable-next=protected-access
            os._exit(127)

    def close(self):
        """Ends it, if it still runs."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def read(self, seconds=0.2):
        """What comes within that time; False at the end."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                data = os.read(self.fd, 1 << 16)
            except OSError:
                return False
            self.text += self.decoder.decode(data)
            return bool(data)
        return True

    def frame(self):
        """The lines that were last drawn as a whole."""
        frames = self.text.split("\x1b[H")
        return [ESCAPE.sub("", line).rstrip() for line
                in frames[-2 if len(frames) > 2 else -1].split("\n")]

    def until(self, words):
        """Waits for a frame that matches; returns its lines, which fit."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            lines = self.frame()
            if re.search(words, "\n".join(lines)):
                if len(lines) > LINES or max(map(len, lines)) > COLUMNS:
                    raise AssertionError(f"it does not fit: {lines}")
                return lines
            if not self.read():
                break
        raise AssertionError(f"{words!r} was never shown: {self.text[-3000:]}")

    def press(self, keys):
        """Somebody presses keys."""
        os.write(self.fd, keys.encode())

    def end(self):
        """Waits for its end; returns the exit status."""
        end = time.monotonic() + PATIENCE
        while self.read() and time.monotonic() < end:
            pass
        if time.monotonic() > end:
            raise AssertionError(f"it does not end: {self.text[-3000:]}")
        _, status = os.waitpid(self.pid, 0)
        self.pid = None
        return os.waitstatus_to_exitcode(status)

    def taken(self):
        """Whether the terminal is another one than before."""
        return termios.tcgetattr(self.fd) != self.before

    def check_restored(self):
        """The terminal is as it was, whatever was done to it."""
        if self.taken():
            raise AssertionError("the terminal has other modes than before")
        for on, off in PAIRS:
            if self.text.rfind(on) > self.text.rfind(off):
                raise AssertionError(f"{on!r} is not undone: {self.text!r}")
