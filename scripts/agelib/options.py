# SPDX-License-Identifier: GPL-2.0-or-later
"""
Numbers on the command line: what argparse takes for ``type``.
"""

import argparse
import math


def count(text):
    """How often, or how many: a whole number from 1 on."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no whole number from 1 on")
    return number


def duration(text):
    """How long: more than 0, in whatever unit the option has."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number
