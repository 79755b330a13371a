# SPDX-License-Identifier: GPL-2.0-or-later
"""
Decodes the page tables that ``age-dump-tables`` wrote.

- ``dump``: the file, and a walk over its tables;
- ``entry``: an entry taken apart, whatever its format;
- ``ept``: Intel's extended page tables;
- ``stage2``: Arm's stage 2 translation tables;
- ``show``: all of it as text, as ``scripts/age-tables`` prints it.
"""
