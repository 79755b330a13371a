# SPDX-License-Identifier: GPL-2.0-or-later
"""
What failed tests leave behind: a folder for each program.

It is ``failed/NAME`` in the build folder, and replaces that of the last run.
In it each emulator has a folder (``agelib.qemu.record``) as long as it runs,
and afterwards if a test failed meanwhile; the file ``failed`` has what the
tests that failed had to say.  Nothing is left of a program that did not fail.
"""

import contextlib
import faulthandler
import os
import shutil
import signal

from agelib.qemu.emulator import build_dir


class FailedFolder:
    """The folder of one program."""

    def __init__(self, name):
        self.path = build_dir().resolve() / "failed" / name
        self.kept = set()
        self.past = set()
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        # For each emulator that is started from now on, be it by a program
        # that we start.
        os.environ["AGE_RECORD"] = str(self.path)

    def emulators(self):
        """The folders of emulators that run, or ended during this test."""
        return set(self.path.glob("emulator-*")) - self.past

    def add(self, name, text):
        """A test failed, and why; whatever there is may have to do with it."""
        folders = sorted(self.emulators())
        self.kept.update(folders)
        with open(self.path / "failed", "a", encoding="utf-8") as file:
            file.write(f"{name}: {text.rstrip()}\n")
            for folder in folders:
                file.write(f"  {folder.name}\n")

    def end_of_test(self):
        """Emulators that have ended, and were no part of a failure, go."""
        for path in self.emulators():
            if (path / "end").exists():
                self.past.add(path)
                if path not in self.kept:
                    shutil.rmtree(path, ignore_errors=True)

    def last_line(self):
        """What to say at the very end, or nothing."""
        if (self.path / "failed").exists():
            return f"what is left of the failure: {self.path}"
        return None

    def end(self):
        """The program is through; removes what nobody needs."""
        self.end_of_test()
        if not self.last_line():
            shutil.rmtree(self.path, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()

    def on_sigterm(self, name_of_test, say):
        """
        Tells where we are when somebody has lost patience: meson, mostly.

        @name_of_test and @say are functions.  The emulators end with us.
        """
        def handler(*_):
            self.add(name_of_test(), "terminated, after a time-out perhaps")
            with open(self.path / "python", "w", encoding="utf-8") as file:
                faulthandler.dump_traceback(file)
            say(self.last_line())
            # No clean-up, which may be what hangs; Python's name for that
            # has the underscore.
            # pylint: disable-next=protected-access
            os._exit(128 + signal.SIGTERM)

        signal.signal(signal.SIGTERM, handler)
