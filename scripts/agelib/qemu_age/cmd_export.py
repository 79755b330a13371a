# SPDX-License-Identifier: GPL-2.0-or-later
"""
Write what a record tells in a format that other programs read.

damo       a record of damo's: report heatmap, wss and access read it; several
           harvests make a snapshot (--fold)
lru_gen    pages by age as MGLRU shows its generations (--bins)
csv        ranges of one history: owner, idle time, harvests that found it
           young
page_idle  the bitmap of page_idle: 1 is idle for 2 min (--idle)
vab        ranges for memtierd: touched within 2 min (--idle)
prefetch   ranges in the order of their first touch, as CSV: what a restore
           should load first
"""

import sys

from . import export_damo, export_lists
from .cmd_report import add_filters, positive, times
from .errors import UserError, say
from .recordfile import Reader
from .replay import Choice, Replay
from .units import parse_size, parse_span, parse_time

FORMATS = {
    "damo": export_damo.export, "lru_gen": export_lists.export_lru_gen,
    "csv": export_lists.export_csv,
    "page_idle": export_lists.export_page_idle,
    "vab": export_lists.export_vab, "prefetch": export_lists.export_prefetch}

BINARY = ("damo", "page_idle", "vab")

# Which formats an option is for, and what it is unless given
OPTIONS = {"fold": (("damo",), 10),
           "bins": (("lru_gen",), [10.0, 60.0, 120.0]),
           "idle": (("page_idle", "vab"), None), "offset": (("vab",), 0)}


def add_arguments(parser):
    """The arguments of this sub-command."""
    parser.add_argument("file", metavar="FILE", help="what record wrote")
    parser.add_argument("--to", metavar="FORMAT", required=True,
                        choices=FORMATS, help="one of the above")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="where to (default: standard output)")
    parser.add_argument("--fold", metavar="N", type=positive,
                        help="damo: harvests a snapshot (default: 10)")
    parser.add_argument("--bins", metavar="TIME,...", type=times,
                        help="lru_gen: where generations part (default: "
                             "10s,1min,2min)")
    parser.add_argument("--idle", metavar="FROM-TO",
                        type=parse_span(parse_time),
                        help="page_idle, vab: idle for so long (default: "
                             "2min- and 0-2min)")
    parser.add_argument("--offset", metavar="BYTES", type=parse_size,
                        help="vab: add this to each guest-physical address, "
                             "as hva - gpa of a slot of query-age")
    parser.add_argument("--dirty", action="store_true",
                        help="pages that were written, not accessed")
    add_filters(parser)


def check_options(args):
    """Options for another format are a mistake; the rest has defaults."""
    for name, (formats, default) in OPTIONS.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
        elif args.to not in formats:
            args.parser.error(f"--{name} is for {', '.join(formats)}, "
                              f"not {args.to}")
    if args.bins[0] <= 0:
        args.parser.error("--bins: a generation can't part at 0")
    if args.to in BINARY and not args.output and sys.stdout.isatty():
        args.parser.error(f"{args.to} is no text: give -o FILE")


def write(pieces, path):
    """Into a file or to standard output."""
    if not path:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    with open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)


def run(args):
    """Carries it out."""
    check_options(args)
    reader = Reader(args.file)
    if args.dirty and not reader.header.dirty:
        raise UserError(f"{args.file}: this record has no dirty pages: "
                        "record --dirty")
    replay = Replay(reader, Choice(args.time, args.address, args.memory,
                                   args.node))
    if reader.broken:
        say(f"{args.file}: byte {reader.good}: {reader.broken}; what comes "
            "before is exported")
    write(FORMATS[args.to](replay, args, say), args.output)
    return 0
