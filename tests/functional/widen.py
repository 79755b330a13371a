# SPDX-License-Identifier: GPL-2.0-or-later
"""
Emulators whose threads hesitate, to make rare moments frequent.
"""

import struct
import tempfile

from agelib.qemu.emulator import build_dir


class Widen:
    """
    Has the threads of an emulator hesitate: ``tests/preload/widen.c``.

    To be used in a ``with`` statement around the emulator, to which it gives
    its ``environment``.
    """

    def __init__(self):
        self.file = tempfile.NamedTemporaryFile(prefix="age-widen-")
        self.set()
        library = build_dir() / "tests/preload/widen.so"
        if not library.exists():
            raise RuntimeError(f"there is no {library}: build it first")
        self.environment = {"LD_PRELOAD": str(library),
                            "AGE_WIDEN_FILE": self.file.name}

    def set(self, wait_us=0, wake_us=0):
        """From now on, these are the delays."""
        self.file.seek(0)
        self.file.write(struct.pack("=II", wait_us, wake_us))
        self.file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
