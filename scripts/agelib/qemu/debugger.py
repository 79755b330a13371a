# SPDX-License-Identifier: GPL-2.0-or-later
"""
Emulators that wait for gdb before their first instruction.

With ``AGE_GDB`` in the environment each emulator is started by ``gdbserver``,
and what to type in another terminal is printed.  The emulator keeps its
channels, which a gdb of its own would have to be given.
"""

import os
import shutil
import socket

HOST = "127.0.0.1"
FIRST_PORT = 1234


class DebuggerError(Exception):
    """There is no way to debug here."""


def wanted():
    """Whether emulators are to be debugged."""
    return bool(os.environ.get("AGE_GDB"))


def free_port():
    """A port that nobody listens on: the first one, mostly."""
    for port in range(FIRST_PORT, FIRST_PORT + 100):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((HOST, port))
                return port
            except OSError:
                pass
    raise DebuggerError(f"ports {FIRST_PORT} and up are all in use: end what "
                        "listens there")


def wrapper(binary):
    """The words before the command of an emulator; says how to go on."""
    server = shutil.which("gdbserver")
    if not server:
        raise DebuggerError("there is no gdbserver: install Debian's packages "
                            "gdb and gdbserver")
    where = f"{HOST}:{free_port()}"
    # TCG's vCPUs wake each other by that signal.
    print(f"# gdb -ex 'handle SIGUSR1 nostop noprint' "
          f"-ex 'target remote {where}' {binary}", flush=True)
    return [server, "--once", where]
