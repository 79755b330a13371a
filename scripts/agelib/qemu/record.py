# SPDX-License-Identifier: GPL-2.0-or-later
"""
What an emulator leaves behind, for whoever has to find out why a test failed.

If the environment has ``AGE_RECORD``, each emulator has a folder below it:

- ``command``: its command line;
- ``output``: its standard output and standard error;
- ``console``: what came on the guest's serial line;
- ``qmp0`` and so on: what went over each QMP connection; ``qmp0.old`` is what
  went before;
- ``end``: how it ended, as soon as it has.

Files are written as things happen: they are there if a test is killed, too.
"""

import contextlib
import itertools
import os
import shlex
import tempfile
import time
from pathlib import Path

# Bytes of a message that are kept, and of a file before a new one is begun:
# a soak harvests for half an hour, and answers may have megabytes of bitmap
MESSAGE_BYTES = 2000
FILE_BYTES = 4 << 20


class Transcript:
    """What goes over one QMP connection."""

    def __init__(self, path):
        self.path = path
        self.begin = time.monotonic()
        self.file = self._open()

    def _open(self):
        return open(self.path, "w", encoding="utf-8")

    def add(self, arrow, message):
        """One message, with the seconds since the connection was made."""
        text = message[:MESSAGE_BYTES].decode("utf-8", "replace").rstrip()
        if len(message) > MESSAGE_BYTES:
            text += f" ... ({len(message)} bytes)"
        seconds = time.monotonic() - self.begin
        self.file.write(f"{seconds:9.3f} {arrow} {text}\n")
        self.file.flush()
        if self.file.tell() > FILE_BYTES:
            self.file.close()
            # Gone with its folder, if another run has taken its place
            with contextlib.suppress(FileNotFoundError):
                self.path.rename(f"{self.path}.old")
                self.file = self._open()

    def close(self):
        """Nothing more comes."""
        self.file.close()


class Record:
    """The files of one emulator, if they are to be kept."""

    def __init__(self):
        self.folder = None
        top = os.environ.get("AGE_RECORD")
        if top:
            self.folder = self._new_folder(Path(top))

    @staticmethod
    def _new_folder(top):
        for number in itertools.count(1):
            folder = top / f"emulator-{number}"
            with contextlib.suppress(FileExistsError):
                folder.mkdir(parents=True)
                return folder

    def command(self, words):
        """The command line."""
        if self.folder:
            text = shlex.join(words) + "\n"
            (self.folder / "command").write_text(text, "utf-8")

    def output(self):
        """A file for what the emulator says, which can be read again."""
        if self.folder:
            return open(self.folder / "output", "w+b")
        return tempfile.TemporaryFile()

    def console(self):
        """What to add to the options of the serial line's channel."""
        if not self.folder:
            return ""
        # QEMU's option for this: it is complete though nobody may read.
        path = str(self.folder / "console").replace(",", ",,")
        return f",logfile={path}"

    def transcript(self, number):
        """What goes over the QMP connection of this number; None for nobody."""
        if self.folder:
            return Transcript(self.folder / f"qmp{number}")
        return None

    def end(self, status):
        """The emulator has ended, or has been ended."""
        if self.folder:
            with contextlib.suppress(FileNotFoundError):
                (self.folder / "end").write_text(f"status {status}\n", "utf-8")
