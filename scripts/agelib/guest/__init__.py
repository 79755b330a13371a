# SPDX-License-Identifier: GPL-2.0-or-later
"""
Linux guests with a program of ours in them.

- ``workload``: boots one, sends commands to its program, and reads the account
  that the program keeps of the pages it touched;
- ``damon``: has Linux's DAMON watch a guest's memory from inside.
"""
