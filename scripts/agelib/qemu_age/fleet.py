# SPDX-License-Identifier: GPL-2.0-or-later
"""
Many guests, which come and go.
"""

import os
import stat
import time
from collections import Counter

from .errors import UserError

# How long all guests together have to end what is under way, in seconds
CLOSE_S = 5


def is_socket(path):
    """Whether that is a socket, and there."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def sockets_in(folder):
    """The sockets of a folder, by name; none if the folder has gone."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [path for path in (os.path.join(folder, name) for name in names)
            if is_socket(path)]


class Fleet:
    """
    The guests behind sockets and in folders of sockets.

    A socket that was named is tried for as long as we run; one of a folder is
    forgotten when it is deleted.  @make(path) makes a guest, @say takes a line
    for the user: each error once, until the guest is there again, and what else
    a guest has to tell.
    """

    def __init__(self, paths, make, say=None):
        self.paths = paths
        self.make = make
        self.say = say or (lambda _: None)
        self.guests = {}
        self._leaving = []
        self._told = {}

    def check(self):
        """At least one of the paths has to be there."""
        if not any(os.path.exists(path) for path in self.paths):
            raise UserError(f"{self.paths[0]}: no such socket or folder; "
                            "start QEMU with "
                            "-qmp unix:PATH,server=on,wait=off")

    def refresh(self):
        """Looks who has come and who has gone."""
        wanted = {}
        for path in self.paths:
            found = sockets_in(path) if os.path.isdir(path) else [path]
            wanted |= dict.fromkeys(map(os.path.abspath, found))
        for path in wanted:
            if path not in self.guests:
                self.guests[path] = self.make(path)
                self.guests[path].start()
        for path in [path for path in self.guests if path not in wanted]:
            self._dismiss(path)
        self._tell()

    def _dismiss(self, path):
        guest = self.guests.pop(path)
        guest.end()
        self._leaving = [other for other in self._leaving if other.is_alive()]
        self._leaving.append(guest)

    def _tell(self):
        for path, guest in self.guests.items():
            while guest.notices:
                self.say(guest.notices.popleft())
            error = guest.figures.error if guest.figures else None
            if error and self._told.get(path) != error:
                self.say(error)
            self._told[path] = error

    def figures(self):
        """
        The figures of all that have any, each with a title of its own.
        """
        found = [guest.figures for guest in list(self.guests.values())
                 if guest.figures]
        count = Counter(item.title for item in found)
        return [(item.title if count[item.title] == 1
                 else f"{item.title} ({item.path})", item) for item in found]

    def close(self):
        """
        Lets go of all.

        A history that was made is deleted by then, unless its QEMU does not
        answer.
        """
        for path in list(self.guests):
            self._dismiss(path)
        end = time.monotonic() + CLOSE_S
        for guest in self._leaving:
            guest.join(max(end - time.monotonic(), 0))
