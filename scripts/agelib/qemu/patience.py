# SPDX-License-Identifier: GPL-2.0-or-later
"""
How long anything may take before it is taken to hang.

The emulator may share few cores with other work, so this says nothing about
speed.  Under a debugger (``AGE_GDB``) whoever debugs decides.
"""

import os

FOR_EVER = 24 * 60 * 60


def patience(seconds):
    """So many seconds, or as long as a debugger takes."""
    return FOR_EVER if os.environ.get("AGE_GDB") else seconds


PATIENCE = patience(600)
