# SPDX-License-Identifier: GPL-2.0-or-later
"""
A QEMU of one's own, stopped before its first instruction and harvested.
"""

import contextlib
import os
import signal
import socket
import subprocess

from ..qemu.qmp import QMP, QMPError
from .source import QMPSource, SourceError

# QEMU may have to fetch its memory first.
START_S = 60
END_S = 10

# One that was not waited for: how long it may take until it can be told to end
HELLO_S = 5


def has_accelerator(command):
    """Whether a command line says which accelerator to use."""
    return any(word.lstrip("-") in ("accel", "enable-kvm") or "accel=" in word
               for word in command)


def complete(command, fd):
    """The command line with all that is needed to record."""
    command = list(command)
    if not has_accelerator(command):
        command += ["-accel", "age"]
    return command + ["-S", "-chardev", f"socket,id=qemu-age,fd={fd}",
                      "-mon", "chardev=qemu-age,mode=control"]


class Launched:
    """
    A QEMU that was started by us, to be used in a ``with`` statement.

    It ends when we do.  @source can be harvested before its guest has executed
    anything; go() lets it run, unless its command line had -S.  @at_once makes
    a context for the wait until it has started.
    """

    def __init__(self, command, at_once=contextlib.nullcontext):
        self.stopped = "-S" in command or "--S" in command
        self.name = os.path.basename(command[0])
        ours, theirs = socket.socketpair()
        try:
            self.process = self._start(complete(command, theirs.fileno()),
                                       theirs.fileno())
        except OSError as e:
            ours.close()
            raise SourceError(f"{command[0]}: {os.strerror(e.errno)}") from None
        finally:
            theirs.close()
        self._qmp = QMP(ours)
        self._connected = False
        try:
            with at_once():
                self._connect(START_S)
            self.source = QMPSource(self._qmp, self.name)
        except BaseException:
            self.end()
            self._qmp.close()
            raise

    @staticmethod
    def _start(command, fd):
        """
        Ctrl-C in a terminal goes to QEMU as well.  It is not to hear of it: it
        is told to end once the record has come to its end.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return subprocess.Popen(command, pass_fds=[fd])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _connect(self, seconds):
        try:
            self._qmp.connect(seconds)
        except QMPError as e:
            raise SourceError(f"{self.name}: it did not start: {e}") from None
        self._connected = True

    def go(self):
        """Lets the guest run."""
        if not self.stopped:
            self.source.command("cont", oob=False)

    def end(self):
        """
        Ends it, if it still runs; returns its exit status.

        A signal would do as well, but QEMU tells the user of it.
        """
        try:
            return self._end()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _end(self):
        seconds = END_S if self._quit() else 0
        for way in self.process.terminate, self.process.kill:
            try:
                return self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                way()
                seconds = END_S
        return self.process.wait()

    def _quit(self):
        """Asks it to end; returns whether it can be expected to."""
        try:
            if not self._connected:
                self._connect(HELLO_S)
            self._qmp.command("quit", timeout=END_S)
        except SourceError:
            return False
        except QMPError:
            # It is on its way already, or will be made to go.
            pass
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        self.source.close()
