# SPDX-License-Identifier: GPL-2.0-or-later
"""
``scripts/qemu-age``: from accessed bits to what people ask.

- ``runs``: sets of page frames, as vectors;
- ``layout``: the memory of a guest, without its holes;
- ``source``: a running guest that can be harvested.

Only this package needs numpy; ``scripts/setup`` installs it.
"""
