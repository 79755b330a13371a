# SPDX-License-Identifier: GPL-2.0-or-later
"""
Guests under ``-accel age``, and harvests held against their own account.

What the demo and the functional tests share.  Only the standard library is
needed: QEMU's own Python packages are not the same from one release to the
next, nor in every distribution's source, and what is needed of them is
little.

- ``qmp``: a QMP client with out-of-band commands;
- ``emulator``: one running emulator, its sockets and its end;
- ``workload``: the program in the guest and the account it keeps;
- ``harvest``: accessed bits as sets of page frames;
- ``tables``: page tables from a dump; ``entry``, ``ept`` and ``stage2``: their
  entries, by the manuals;
- ``terminal``: what looks good where it can and reads well elsewhere;
- ``demo``: the demo.
"""
