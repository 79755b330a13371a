# SPDX-License-Identifier: GPL-2.0-or-later
"""
A small QMP client.

It is synchronous, so that two harvesters are simply two threads with a
client each, and it asks for the capability ``oob`` wherever it is offered.
"""

import json
import socket
import time

from .patience import patience


class QMPError(Exception):
    """The connection failed, or the other end said something odd."""


class QMPCommandError(QMPError):
    """QEMU refused a command."""

    def __init__(self, command, error):
        super().__init__(f"{command}: {error.get('desc', error)}")
        self.command = command
        self.error_class = error.get("class")
        self.desc = error.get("desc", "")


class QMP:
    """One QMP connection; for one thread at a time."""

    def __init__(self, sock, transcript=None):
        self.sock = sock
        self.transcript = transcript
        self.buffer = bytearray()
        self.last_id = 0
        self.oob = False
        self.events = []

    def connect(self, timeout=60):
        """Takes the greeting and negotiates the capabilities."""
        greeting = self.receive(timeout)
        if "QMP" not in greeting:
            raise QMPError(f"no QMP greeting but {greeting}")
        offered = greeting["QMP"].get("capabilities", [])
        enable = [name for name in ("oob",) if name in offered]
        self.command("qmp_capabilities", {"enable": enable})
        self.oob = "oob" in enable

    def command(self, name, arguments=None, oob=False, timeout=120):
        """
        Carries out one command and returns what it returns.

        Out of band it overtakes whatever the main loop is busy with.
        """
        if oob and not self.oob:
            raise QMPError(f"{name}: this monitor has no out-of-band "
                           "execution")
        deadline = time.monotonic() + patience(timeout)
        self.last_id += 1
        request = {"exec-oob" if oob else "execute": name,
                   "id": self.last_id}
        if arguments:
            request["arguments"] = arguments
        self.send(request, timeout)
        return self._answer(name, deadline)

    def close(self):
        """Closes the connection."""
        self.sock.close()
        if self.transcript:
            self.transcript.close()

    def send(self, request, timeout=120):
        """Sends a request as it is, and does not wait for an answer."""
        data = json.dumps(request).encode() + b"\n"
        self._note("->", data)
        try:
            self.sock.settimeout(patience(timeout))
            self.sock.sendall(data)
        except OSError as e:
            raise QMPError(f"QMP connection lost: {e}") from e

    def receive(self, timeout=120):
        """The next message, be it an answer or an event."""
        return self._receive(time.monotonic() + patience(timeout))

    def _note(self, arrow, data):
        if self.transcript:
            self.transcript.add(arrow, data)

    def _answer(self, name, deadline):
        """The answer to the last request; events on the way are kept."""
        while True:
            message = self._receive(deadline)
            if "event" in message:
                self.events.append(message)
            elif message.get("id") != self.last_id:
                raise QMPError(f"{name}: unexpected answer {message}")
            elif "error" in message:
                raise QMPCommandError(name, message["error"])
            else:
                return message["return"]

    def _receive(self, deadline):
        """One message; they come a line each."""
        start = 0
        while True:
            end = self.buffer.find(b"\n", start)
            if end >= 0:
                break
            start = len(self.buffer)
            self._fill(deadline)
        line = bytes(self.buffer[:end])
        del self.buffer[:end + 1]
        self._note("<-", line)
        try:
            return json.loads(line)
        except ValueError as e:
            raise QMPError(f"QMP sent no JSON: {line[:200]!r}") from e

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise QMPError("QMP does not answer")
        try:
            self.sock.settimeout(left)
            data = self.sock.recv(1 << 20)
        except socket.timeout as e:
            raise QMPError("QMP does not answer") from e
        except OSError as e:
            raise QMPError(f"QMP connection lost: {e}") from e
        if not data:
            raise QMPError("QMP connection closed")
        self.buffer += data
