# SPDX-License-Identifier: GPL-2.0-or-later
"""
The soak: a busy guest to which everything happens at the same time.

- ``run``: the steps and their order;
- ``machine``: the emulator and its guest, resets and migration;
- ``load``: the clients that harvest all the while;
- ``device``: the steps with ``age-device``;
- ``plugs``: what is plugged and unplugged, and when a guest lets go;
- ``history``: what the history has to tell;
- ``check``: what has to hold whenever the guest stands still.
"""
