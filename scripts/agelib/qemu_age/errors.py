# SPDX-License-Identifier: GPL-2.0-or-later
"""
What goes wrong, told in one line that names the culprit and the way out.
"""

import sys


class UserError(Exception):
    """An error whose text is all that the user needs."""


def say(text):
    """A line for people, beside what a command prints."""
    print(f"qemu-age: {text}", file=sys.stderr, flush=True)
