# SPDX-License-Identifier: GPL-2.0-or-later
"""
A QEMU of one's own, stopped before its first instruction and harvested.
"""

import os
import socket
import subprocess

from ..qemu.qmp import QMP, QMPError
from .source import QMPSource, SourceError

# QEMU may have to fetch its memory first.
START_S = 60
END_S = 10


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
    anything; go() lets it run, unless its command line had -S.
    """

    def __init__(self, command):
        self.stopped = "-S" in command or "--S" in command
        self.name = os.path.basename(command[0])
        ours, theirs = socket.socketpair()
        try:
            self.process = subprocess.Popen(
                complete(command, theirs.fileno()),
                pass_fds=[theirs.fileno()])
        except OSError as e:
            ours.close()
            raise SourceError(f"{command[0]}: {os.strerror(e.errno)}") from None
        finally:
            theirs.close()
        self._qmp = QMP(ours)
        try:
            self.source = self._connect()
        except BaseException:
            self.end()
            self._qmp.close()
            raise

    def _connect(self):
        try:
            self._qmp.connect(START_S)
        except QMPError as e:
            raise SourceError(f"{self.name}: it did not start: {e}") from None
        return QMPSource(self._qmp, self.name)

    def go(self):
        """Lets the guest run."""
        if not self.stopped:
            self.source.command("cont", oob=False)

    def end(self):
        """
        Ends it, if it still runs; returns its exit status.

        A signal would do as well, but QEMU tells the user of it.
        """
        for way in (self._quit, self.process.terminate, self.process.kill):
            if self.process.poll() is None:
                way()
            try:
                return self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                pass
        return self.process.wait()

    def _quit(self):
        try:
            self._qmp.command("quit", timeout=END_S)
        except QMPError:
            # It has gone, or will be made to.
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        self.source.close()
