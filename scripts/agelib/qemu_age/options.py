# SPDX-License-Identifier: GPL-2.0-or-later
"""
Options that all sub-commands have that harvest.
"""

import functools

from .history_source import HistorySource
from .source import QMPSource
from .units import parse_positive_time


def add_harvest_options(parser, interval, dirty, flush):
    """
    How to harvest.

    @interval is the default, in seconds; @dirty says what is told with
    --dirty, and @flush what the two policies do.
    """
    parser.add_argument("--interval", metavar="TIME", default=float(interval),
                        type=parse_positive_time,
                        help=f"between two harvests (default: {interval}s)")
    parser.add_argument("--dirty", action="store_true", help=dirty)
    parser.add_argument("--flush", choices=["none", "request"],
                        default="request", help=flush)
    parser.add_argument("--history", action="store_true",
                        help="read the history that QEMU keeps (age-history), "
                             "which takes nothing from other clients; it is "
                             "made if there is none, and has its own --flush")


def source_maker(args):
    """What makes a source of a QMP client and a name, in the way asked for."""
    if args.history:
        return functools.partial(HistorySource, dirty=args.dirty)
    return QMPSource


def add_sockets(parser):
    """The guests that are watched."""
    parser.add_argument("socket", nargs="+", metavar="SOCKET",
                        help="a QMP socket of a guest, or a folder of them")
