# SPDX-License-Identifier: GPL-2.0-or-later
"""
Emulators with ``-accel age``, and harvests held against the guest's account.

What the scripts and the functional tests share.  Only the standard library is
needed, but for ``qemu_age`` and ``demo``, which uses it: QEMU's own Python
packages are not the same from one release to the next, nor in every
distribution's source, and what is needed of them is little.

- ``qemu``: runs an emulator, speaks QMP, harvests;
- ``tables``: decodes the page tables of a dump by the manuals;
- ``guest``: Linux guests with a program of ours in them;
- ``options``: numbers on the command line;
- ``terminal``: output for a terminal and for a pipe;
- ``version``: the version of this source, and the option that tells it;
- ``soak``: ``scripts/soak``;
- ``bench``: ``scripts/bench``;
- ``qemu_age``: ``scripts/qemu-age``;
- ``demo``: ``scripts/demo``.

``qemu``, ``tables``, ``options``, ``terminal`` and ``version`` use nothing else
of this library, and ``guest`` uses ``qemu``.  The last four use these, and of
each other only ``demo`` uses ``qemu_age``; ``tests/scripts/test_layers.py``
holds it.
"""
