#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
A QEMU that is none, for ``qemu-age record -- COMMAND``.

It takes a while to start, speaks QMP on the socket that it inherits, and ends
when it is told to, or by a signal as QEMU does: with a word about it.  With
"-hang" it says nothing on that socket.
"""

import os
import signal
import socket
import sys
import time

from fakes import GREETING, FakeGuest, slot, talk


def leave():
    """Ends all threads, whatever they are at."""
    # The name is that of the system call.
    # pylint: disable-next=protected-access
    os._exit(0)


def asked(number, _):
    """A signal ends QEMU in good order."""
    print(f"qemu: terminating on signal {number}", file=sys.stderr, flush=True)
    leave()


def main():
    """Starts, and serves the one client there is."""
    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
    fd = next(int(word.rpartition("fd=")[2]) for word in sys.argv
              if word.startswith("socket,id=qemu-age,fd="))
    if "-hang" in sys.argv:
        print("hanging", flush=True)
        time.sleep(3600)
    time.sleep(0.1)
    guest = FakeGuest([slot(0, 0x100000)], {
        "cont": lambda _: {"return": {}}, "quit": lambda _: leave()})
    guest.young = {1, 2, 3}
    talk(socket.socket(fileno=fd), guest, GREETING)
    # QEMU goes on without its client, and so a test sees that it was left.
    time.sleep(3600)


if __name__ == "__main__":
    main()
