#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
A short soak: each thing that a guest can meet with, once.

``scripts/soak`` is the same for as long as one likes.
"""

import unittest

import common

from agelib.guest.workload import images_present
from agelib.soak.run import Soak

ARGS = common.parse_args(__doc__.splitlines()[1])


class SoakTest(unittest.TestCase):
    """One round of the soak."""

    def test_round(self):
        """Conservation, tables and recall, whatever happens."""
        if not images_present(ARGS.arch):
            raise unittest.SkipTest("no guest images: run scripts/build-guest")
        with Soak(ARGS.arch, ARGS.seed) as soak:
            soak.run(0)
            for title, numbers in soak.summary().items():
                common.comment(f"{title}: {numbers}")


if __name__ == "__main__":
    common.run_classes([SoakTest], ARGS)
