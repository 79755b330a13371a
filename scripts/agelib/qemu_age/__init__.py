# SPDX-License-Identifier: GPL-2.0-or-later
"""
``scripts/qemu-age``: from accessed bits to what people ask.

- ``runs``: sets of page frames, as vectors;
- ``layout``: the memory of a guest, without its holes;
- ``source``: a running guest that can be harvested;
- ``history_source``: one whose QEMU keeps a history, which is read;
- ``cells``: pages, or pieces that have one history;
- ``ages``: how long each has been idle, and what follows from it;
- ``threshold``: when to call memory cold;
- ``recordfile``: the file that a record is in;
- ``trouble``: what people are told of harvests, once each;
- ``stop``: Ctrl-C, and what it may interrupt;
- ``recorder``: the loop that harvests at a pace;
- ``launch``: a QEMU of one's own;
- ``errors``: what is told in one line;
- ``units``: sizes and times, as people read and write them;
- ``options``: options of those that harvest;
- ``program``: the command line, with a module for each sub-command:
- ``cmd_record``: ``qemu-age record``;
- ``cmd_report``: ``qemu-age report``, which uses
- ``replay``: a record, or a part of it, tick by tick;
- ``report_ages``: reports of how much, for how long, at what price;
- ``report_places``: reports of where;
- ``report_text``: both as tables for people;
- ``heatmap``: what was young, when;
- ``heatmap_text``: that map in a terminal;
- ``pictures``: that map, and working sets over time, as PNG or SVG;
- ``cmd_export``: ``qemu-age export``, which uses
- ``export_damo``: a record as damo keeps its own;
- ``export_lists``: ranges and ages in the formats of others;
- ``live``: a guest that is watched for as long as it runs;
- ``fleet``: many of them, which come and go;
- ``cmd_exporter``: ``qemu-age exporter``, which uses
- ``metrics``: their figures as Prometheus wants them;
- ``cmd_top``: ``qemu-age top``, which uses
- ``top_view``: what it shows, in numbers;
- ``top_text``: the same as lines;
- ``screen``: a terminal that is taken over for a while;
- ``cmd_tables``: ``qemu-age tables``, which needs no library.

Only this package needs numpy; ``scripts/setup`` installs it.
"""
