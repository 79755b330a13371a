# SPDX-License-Identifier: GPL-2.0-or-later
"""
A debugger at an emulator's gdb stub: it watches memory, and always goes on.

The protocol is that of gdb's manual, "Remote Protocol".
"""

import socket
import tempfile
import threading
from pathlib import Path

from agelib.qemu.patience import PATIENCE

# What is watched: loads and stores
ACCESS = 4


class StubError(Exception):
    """The stub refused something, or is gone."""


class Watcher:
    """
    Watches memory of a running guest, in a ``with`` statement.

    @ranges are (address, size), by the guest's virtual addresses.  An access
    to one stops the guest, and it goes on at once; @hits counts that.

    On Arm it stops before the access, so that nothing is watched while that is
    made; what other vCPUs access in that time is not noticed.
    """

    def __init__(self, guest, ranges):
        self.hits = 0
        self._ranges = ranges
        self._data = b""
        self._leaving = False
        self._error = None
        # Who sends while the guest may be stopped holds it.
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="age-gdb-")
        path = Path(self._folder.name) / "gdb"
        self._guest = guest
        self._serve(f"unix:{path},server=on,wait=off")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE / 4)
        self._socket.connect(str(path))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._watch("Z")
        self._send("c")
        self._thread.start()
        return self

    def __exit__(self, *_):
        """Stops the guest once more, to take all back and let it go on."""
        with self._lock:
            self._leaving = True
            if not self._error:
                self._socket.sendall(b"\x03")
        self._thread.join()
        try:
            if self._error:
                raise self._error
            self._ask("D")
        finally:
            self._socket.close()
            self._serve("none")
            self._folder.cleanup()

    def _run(self):
        try:
            self._keep_going()
        # Whatever it is, __exit__() raises it in the main thread.
        except Exception as e:  # pylint: disable=broad-exception-caught
            self._error = e

    def _keep_going(self):
        """Until we leave: then the last stop is for that."""
        while self._receive().startswith("T"):
            with self._lock:
                if self._leaving:
                    return
                self.hits += 1
                self._watch("z")
                self._ask("s")
                self._watch("Z")
                self._send("c")

    def _watch(self, command):
        """Has all of it watched, or no more."""
        for address, size in self._ranges:
            answer = self._ask(f"{command}{ACCESS},{address:x},{size:x}")
            if answer != "OK":
                raise StubError(f"{address:#x} can't be watched: {answer!r}")

    def _serve(self, where):
        self._guest.command("human-monitor-command",
                            {"command-line": f"gdbserver {where}"})

    def _ask(self, text):
        self._send(text)
        return self._receive()

    def _send(self, text):
        body = text.encode()
        self._socket.sendall(b"$%s#%02x" % (body, sum(body) & 0xff))

    def _receive(self):
        """The next packet, which is acknowledged."""
        while not (b"$" in self._data and
                   b"#" in self._data[self._data.index(b"$"):-2]):
            more = self._socket.recv(4096)
            if not more:
                raise StubError("the stub is gone")
            self._data += more
        begin = self._data.index(b"$") + 1
        end = self._data.index(b"#", begin)
        body, self._data = self._data[begin:end], self._data[end + 3:]
        self._socket.sendall(b"+")
        return body.decode()
