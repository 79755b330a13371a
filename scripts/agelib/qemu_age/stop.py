# SPDX-License-Identifier: GPL-2.0-or-later
"""
Ctrl-C, and the other signals that ask us to end.

``scripts/qemu-age`` has the system end us, as long as there is nothing to put
in order.  Who holds something has a ``Stop``.
"""

import contextlib
import signal
import threading


class Stop(threading.Event):
    """
    Set by the first Ctrl-C, so that what is under way comes to its end.

    The second one ends it at once.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self):
        super().__init__()
        self._before = {}
        self._hurried = False

    def __enter__(self):
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

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
        hurried = self._hurried or self.is_set()
        self.set()
        if hurried:
            # Who puts things in order now is not to be interrupted by this one.
            self._hurried = False
            raise KeyboardInterrupt
