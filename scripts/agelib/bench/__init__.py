# SPDX-License-Identifier: GPL-2.0-or-later
"""
The benchmarks.

- ``program``: the command line; runs rows and writes the report;
- ``tables``: the rows *table* and *history*;
- ``calls``: the row *call*;
- ``guests``: the rows *load*, *boot*, *grow*, *blocks*, *interval*, *plugin*
  and *rate*;
- ``balloon``: the row *balloon*;
- ``harvests``: the row *harvest*;
- ``faults``: the row *faults*;
- ``flush``: the row *flush*;
- ``figures``: what runs come to, and how pairs are measured;
- ``report``: reads a report, and checks that it is one;
- ``show``: the report as a table;
- ``compare``: two reports side by side.
"""
