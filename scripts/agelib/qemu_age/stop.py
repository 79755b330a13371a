# SPDX-License-Identifier: GPL-2.0-or-later
"""
Ctrl-C, and the other signals that ask us to end.

``scripts/qemu-age`` has the system end us, as long as there is nothing to put
in order.  Who holds something has a ``Stop``.
"""

import contextlib
import os
import select
import signal


class Stop:
    """
    Set by the first Ctrl-C, so that what is under way comes to its end.

    The second one ends it at once.  It is for the main thread alone, and no
    threading.Event: to set one takes its lock, which the thread that a signal
    interrupts may have.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self):
        self._before = {}
        self._set = self._hurried = False
        self._reader, self._writer = os.pipe()

    def __enter__(self):
        for number in self.SIGNALS:
            # nohup has us go on when a terminal hangs up.
            if number != signal.SIGHUP or \
                    signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def is_set(self):
        """Whether we are to end."""
        return self._set

    def wait(self, seconds):
        """Waits for so long, or until we are to end; returns is_set()."""
        if not self._set:
            select.select([self._reader], [], [], seconds)
        return self._set

    @contextlib.contextmanager
    def at_once(self):
        """
        Around a long wait in which nothing is held, or all of it guarded.

        There the first Ctrl-C is a KeyboardInterrupt, or one that has come.
        """
        self._hurried = True
        try:
            if self.is_set():
                raise KeyboardInterrupt
            yield
        finally:
            self._hurried = False

    def _asked(self, *_):
        hurried = self._hurried or self._set
        if not self._set:
            self._set = True
            os.write(self._writer, b"!")
        if hurried:
            # Who puts things in order now is not to be interrupted by this one.
            self._hurried = False
            raise KeyboardInterrupt
