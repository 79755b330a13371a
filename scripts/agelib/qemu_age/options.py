# SPDX-License-Identifier: GPL-2.0-or-later
"""
Options that all sub-commands have that harvest.
"""

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


def add_sockets(parser):
    """The guests that are watched."""
    parser.add_argument("socket", nargs="+", metavar="SOCKET",
                        help="a QMP socket of a guest, or a folder of them")
