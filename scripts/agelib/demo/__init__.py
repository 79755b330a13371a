# SPDX-License-Identifier: GPL-2.0-or-later
"""
The demo.

- ``program``: the command line and the report;
- ``watch``: one guest, harvested once a second;
- ``result``: what was found, held against the guest's account.
"""
