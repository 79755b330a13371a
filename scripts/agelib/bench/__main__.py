# SPDX-License-Identifier: GPL-2.0-or-later
"""
The benchmarks as a program: ``python3 -m agelib.bench``.
"""

import sys

from .program import main

sys.exit(main())
