# SPDX-License-Identifier: GPL-2.0-or-later
"""
The demo as a program: ``python3 -m agelib.demo``.
"""

import sys

from .program import main

sys.exit(main())
