# SPDX-License-Identifier: GPL-2.0-or-later
"""
Tell what a record has to say.

summary     the main figures (the default)
wss         the working set by window: what was touched within such a time
idle        memory by how long it has been idle, at the end
promotions  what each threshold of "cold" would bring back in a minute, and the
            one to recommend
hot, cold   the largest ranges that are young often, or idle for long
heatmap     what was young, when
dirty       how much is written
check       whether the record is whole and the arithmetic right

For instance, what was idle for an hour of the second NUMA node's memory, and a
picture of the last ten minutes of a record of two hours:

  qemu-age report guest.age cold --idle 1h --node 1
  qemu-age report guest.age heatmap --time 110min- --png guest.png
"""

import json

from ..terminal import Terminal
from . import heatmap, heatmap_text, report_ages, report_places, report_text
from .errors import say
from .recordfile import Reader
from .replay import Choice, Replay
from .threshold import GOAL
from .units import (parse_positive_time, parse_size, parse_span, parse_time)

REPORTS = {
    "summary": report_ages.summary, "wss": report_ages.wss,
    "idle": report_ages.idle, "promotions": report_ages.promotions,
    "hot": report_places.hot, "cold": report_places.cold,
    "dirty": report_ages.dirty, "check": report_ages.check}

# Rows and columns of a heat map, in a terminal and as a picture
TEXT_SIZE = 40, 64
PICTURE_SIZE = 600, 800

# Which reports an option is for, and what it is unless given
OPTIONS = {
    "windows": (("wss", "dirty"), None), "over_time": (("wss",), None),
    "bins": (("idle",), None), "thresholds": (("promotions",), None),
    "goal": (("promotions",), GOAL * 100),
    "share": (("hot",), 50.0), "idle": (("cold",), report_ages.COLD_S),
    "count": (("hot", "cold"), 20), "size": (("hot", "cold"), None),
    "rows": (("heatmap",), None), "columns": (("heatmap",), None),
    "palette": (("heatmap",), "hot"), "png": (("heatmap", "wss"), None),
    "svg": (("heatmap", "wss"), None), "dirty": (("heatmap",), False)}


def times(text):
    """A list of times."""
    return sorted({parse_time(word) for word in text.split(",")})


def positive(text):
    """A number above 0, for argparse to complain about others."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def add_filters(parser):
    """What part of a record."""
    group = parser.add_argument_group("the part of the record")
    group.add_argument("--time", metavar="FROM-TO", default=(0, None),
                       type=parse_span(parse_time),
                       help="since its begin: 10min-, 30s-1h; what was "
                            "accessed before counts for the first harvest")
    group.add_argument("--address", metavar="FROM-TO",
                       type=parse_span(parse_size),
                       help="guest-physical addresses: 1M-0x40000000, 4G-")
    group.add_argument("--memory", metavar="NAME",
                       help="one memory backend or RAM block")
    group.add_argument("--node", metavar="N", type=int, help="one NUMA node")


def add_options(parser):
    """What reports can be asked for."""
    group = parser.add_argument_group("single reports")
    group.add_argument("--windows", metavar="TIME,...", type=times,
                       help="wss, dirty: which windows")
    group.add_argument("--over-time", metavar="WINDOW",
                       type=parse_positive_time,
                       help="wss: that of one window, from harvest to harvest")
    group.add_argument("--bins", metavar="TIME,...", type=times,
                       help="idle: where bins begin")
    group.add_argument("--thresholds", metavar="TIME,...", type=times,
                       help="promotions: which thresholds")
    group.add_argument("--goal", metavar="PERCENT", type=float,
                       help="promotions: how much of the working set may come "
                            f"back in a minute (default: {GOAL * 100:g})")
    group.add_argument("--share", metavar="PERCENT", type=float,
                       help="hot: young in so many harvests (default: 50)")
    group.add_argument("--idle", metavar="TIME", type=parse_positive_time,
                       help="cold: for so long at least (default: 2min)")
    group.add_argument("--size", metavar="FROM-TO",
                       type=parse_span(parse_size),
                       help="hot, cold: ranges of such sizes: 2M-")
    group.add_argument("--count", metavar="N", type=positive,
                       help="hot, cold: how many ranges (default: 20)")
    add_picture_options(parser.add_argument_group("heatmap"))


def add_picture_options(group):
    """What the heat map can look like."""
    group.add_argument("--rows", metavar="N", type=positive,
                       help="pieces of time (default: 40; pictures: 600)")
    group.add_argument("--columns", metavar="N", type=positive,
                       help="pieces of memory (default: 64; pictures: 800)")
    group.add_argument("--palette", choices=["hot", "grey"],
                       help="colours (default: hot)")
    group.add_argument("--colour", choices=["auto", "always", "never"],
                       default="auto", help="default: in a terminal only")
    for kind in "png", "svg":
        group.add_argument(f"--{kind}", metavar="FILE",
                           help="write a picture (wss as well)")
    group.add_argument("--dirty", action="store_true", default=None,
                       help="pages that were written")


def add_arguments(parser):
    """The arguments of this sub-command."""
    parser.usage = "qemu-age report FILE [REPORT] [OPTION]..."
    parser.add_argument("file", metavar="FILE", help="what record wrote")
    parser.add_argument("report", nargs="?", metavar="REPORT",
                        choices=[*REPORTS, "heatmap"], default="summary",
                        help="one of the above")
    parser.add_argument("--json", action="store_true",
                        help="as JSON, in bytes and seconds")
    add_filters(parser)
    add_options(parser)


def check_options(args):
    """Options for another report are a mistake; the rest has defaults."""
    for name, (reports, default) in OPTIONS.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
        elif args.report not in reports:
            args.parser.error(f"--{name.replace('_', '-')} is for "
                              f"{', '.join(reports)}, not {args.report}")


def print_heat_map(args, replay):
    """In the terminal, or as pictures."""
    paths = report_ages.pictures_of(args)
    rows, columns = PICTURE_SIZE if paths else TEXT_SIZE
    found = heatmap.draw(replay, args.rows or rows, args.columns or columns,
                         args.dirty)
    if paths:
        # matplotlib may be missing, and takes its time.
        # pylint: disable-next=import-outside-toplevel
        from . import pictures
        pictures.save_heat_map(found, replay.reader.header.name, paths)
    if args.json:
        print(json.dumps(found.json()))
    elif not paths:
        colour = Terminal().colour if args.colour == "auto" \
            else args.colour == "always"
        print("\n".join(heatmap_text.lines(found, args.palette, colour)))


def run(args):
    """Carries it out."""
    check_options(args)
    reader = Reader(args.file)
    replay = Replay(reader, Choice(args.time, args.address, args.memory,
                                   args.node))
    if reader.header.dirty is False and (args.dirty or args.report == "dirty"):
        args.parser.error("this record has no dirty pages: record --dirty")
    if reader.broken and args.report != "check":
        say(f"{args.file}: byte {reader.good}: {reader.broken}; "
            "what comes before is reported")
    if args.report == "heatmap":
        print_heat_map(args, replay)
        return 0
    found = REPORTS[args.report](replay, args)
    if args.json:
        print(json.dumps(found))
    else:
        print("\n".join(report_text.lines(args.report, found)))
    return 1 if found.get("problems") else 0
