# SPDX-License-Identifier: GPL-2.0-or-later
"""
One running emulator: its command line, its sockets and its end.

All channels are socket pairs whose other end the emulator inherits.  Nothing
is left in the file system, nothing can be connected to too late, and the
emulator's end is seen as the end of its channels.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import debugger
from .patience import PATIENCE
from .qmp import QMP, QMPError
from .record import Record

TOP = Path(__file__).resolve().parents[3]


class EmulatorError(Exception):
    """The emulator did not start, or died."""


def build_dir():
    """Where emulators and guests are; AGE_BUILD names another place."""
    return Path(os.environ.get("AGE_BUILD", TOP / "build"))


def emulator_path(arch):
    """The emulator for an architecture."""
    return build_dir() / f"qemu-system-{arch}"


def tail(text, lines=20):
    """The last lines of a text, indented, for error messages."""
    kept = text.rstrip().splitlines()[-lines:]
    return "".join(f"\n    {line.rstrip()}" for line in kept)


class Emulator:
    """
    One emulator, to be used in a ``with`` statement.

    @arch picks the emulator; @options are its command line without
    accelerator, display and channels; @monitors says how many QMP
    connections there are.  What is put into ``environment`` before the start is
    added to our own.

    The environment may have ``AGE_QEMU_ARGS``, further options as a shell has
    them, ``AGE_GDB`` (see ``debugger``) and ``AGE_RECORD`` (see ``record``).
    """

    def __init__(self, arch, options, accel="age", monitors=1):
        self.arch = arch
        self.accel = accel
        self.options = [str(option) for option in options]
        self.monitors = monitors
        self.environment = {}
        self.process = None
        self.serial = None
        self.qmps = []
        self.console = bytearray()
        self.record = None
        self._output = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Starts the emulator; who calls this calls stop() as well."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    @property
    def qmp(self):
        """The first QMP connection."""
        return self.qmps[0]

    def check(self):
        """Raises an error that says all there is to say if it has died."""
        if self.process and self.process.poll() is not None:
            raise EmulatorError(self._obituary())

    def failure(self, what):
        """An error for @what, told by the emulator's end if there was one."""
        if self.process:
            try:
                # A broken channel is seen before the process has gone.
                self.process.wait(2)
                return EmulatorError(self._obituary())
            except subprocess.TimeoutExpired:
                pass
        return EmulatorError(what + self._last_words())

    def command(self, name, arguments=None, **kwargs):
        """A QMP command on the first connection."""
        try:
            return self.qmp.command(name, arguments, **kwargs)
        except QMPError:
            self.check()
            raise

    def read_serial(self, timeout):
        """What came on the serial line, or nothing within @timeout."""
        self.serial.settimeout(max(timeout, 0.001))
        try:
            data = self.serial.recv(65536)
        except socket.timeout:
            return b""
        except OSError as e:
            raise self.failure(f"serial line lost: {e}") from None
        if not data:
            raise self.failure("the serial line was closed")
        self.console += data
        return data

    def expect(self, *texts, timeout=PATIENCE, idle=None):
        """Waits for one of these on the serial line and returns it."""
        deadline = time.monotonic() + timeout
        while True:
            for text in texts:
                if text.encode() in self.console:
                    return text
            if time.monotonic() > deadline:
                raise self.failure(f"the guest never says {texts}")
            if idle:
                idle()
            self.read_serial(0.5)

    def write_serial(self, data):
        """Sends to the guest's serial line."""
        try:
            self.serial.settimeout(PATIENCE)
            self.serial.sendall(data)
        except OSError as e:
            raise self.failure(f"serial line lost: {e}") from None

    def stop(self):
        """Ends the emulator and closes everything; may be called twice."""
        process, self.process = self.process, None
        if process:
            self._end(process)
            self.record.end(process.returncode)
        for channel in self.qmps + [self.serial, self._output]:
            if channel:
                channel.close()
        self.qmps, self.serial, self._output = [], None, None

    @staticmethod
    def _end(process):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self):
        binary = emulator_path(self.arch)
        if not os.access(binary, os.X_OK):
            raise EmulatorError(f"there is no {binary}: build it first")
        self.record = Record()
        self._output = self.record.output()
        theirs = []
        command = self._wrapper(binary) + [str(binary)] + self._base_options()
        command += self._channel_options(theirs) + self.options
        command += shlex.split(os.environ.get("AGE_QEMU_ARGS", ""))
        self.record.command(command)
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self._output,
                stderr=self._output, start_new_session=True,
                env=os.environ | self.environment,
                pass_fds=[sock.fileno() for sock in theirs])
        finally:
            for sock in theirs:
                sock.close()
        self._connect()

    @staticmethod
    def _wrapper(binary):
        """An emulator should not outlive us, whatever ends us."""
        setpriv = shutil.which("setpriv")
        command = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        if debugger.wanted():
            command += debugger.wrapper(binary)
        return command

    def _base_options(self):
        return ["-accel", self.accel, "-display", "none", "-nodefaults",
                "-no-user-config", "-no-reboot"]

    def _channel_options(self, theirs):
        options = []
        for i in range(self.monitors):
            ours, other = socket.socketpair()
            self.qmps.append(QMP(ours, self.record.transcript(i)))
            theirs.append(other)
            options += [
                "-chardev", f"socket,id=qmp{i},fd={other.fileno()}",
                "-mon", f"chardev=qmp{i},mode=control"]
        self.serial, other = socket.socketpair()
        theirs.append(other)
        options += ["-chardev", f"socket,id=serial0,fd={other.fileno()}" +
                    self.record.console(), "-serial", "chardev:serial0"]
        return options

    def _connect(self):
        try:
            for qmp in self.qmps:
                qmp.connect()
        except QMPError as e:
            raise self.failure(f"no QMP connection: {e}") from None

    def _obituary(self):
        code = self.process.returncode
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return (f"{emulator_path(self.arch).name} ended with {how}" +
                self._last_words())

    def _last_words(self):
        words = ""
        if self._output:
            self._output.seek(0)
            output = self._output.read().decode(errors="replace")
            if output.strip():
                words += "\n  it said:" + tail(output)
        console = bytes(self.console[-4000:]).decode(errors="replace")
        if console.strip():
            words += "\n  on its console:" + tail(console)
        return words
