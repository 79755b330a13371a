# SPDX-License-Identifier: GPL-2.0-or-later
"""
The demo.

- ``program``: the command line and the report;
- ``watch``: one guest, harvested once a second;
- ``record``: the harvests as a record of qemu-age;
- ``result``: what was found, held against the guest's account.
"""
