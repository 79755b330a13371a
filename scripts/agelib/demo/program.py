# SPDX-License-Identifier: GPL-2.0-or-later
"""
The demo: working sets of Debian guests, held against their own account.

For each architecture it boots a stock Debian kernel under ``-accel age``
with a workload of known shape, harvests once a second over QMP and prints a
line each time.  At the end it asks the guest which pages it touched.

``--json FILE`` writes everything that was measured.  The members below stay;
others may be added.  Counts are pages of 4096 bytes::

    { "version": 1,
      "ok": bool,                   all guests ok
      "guests": [ {
        "arch": "x86_64" | "aarch64",
        "ok": bool,                 nothing failed, missed or invented (but
                                    without a flush some may be missed)
        "error": str,               only if something failed; what follows
                                    may be missing then
        "machine": str, "cpu": str, "accel": str,
        "cpus": int, "memory-mib": int, "kernel": str,
        "flush": "request" | "none",
        "record": str,              the harvests, for scripts/qemu-age
        "boot-seconds": float,
        "workload": { "pages": int, "hot": int, "warm": int, "cold": int,
                      "window": int, "period-ms": int, "threads": int },
        "harvests": [ {             in order, one a second
          "seconds": float,         since the workload began
          "young": int,             found in this one
          "cumulative": int,        found in any up to now
          "pages": int,             looked at
          "cost-ns": int,           in the accelerator
          "round-trip-ns": int,     command to answer
          "flush-pending": bool } ],
        "result": {
          "touched": int,           by the guest's account
          "found": int,             of those, in any harvest
          "recall": float,          found / touched
          "invented": int,          workload pages found, yet not touched
          "elsewhere": int,         found outside the workload: the kernel,
                                    its page tables, other programs
          "moved": int,             workload pages whose frame changed
          "shapes": { "hot" | "warm" | "cold": {
            "pages": int, "touched": int, "found": int, "invented": int,
            "seen-in": float } } }, mean share of harvests a touched page
                                    was found in
        "query-age": { ... } } ] }  its answer at the end
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from ..guest.workload import GUESTS
from ..options import count
from ..qemu.emulator import build_dir
from ..terminal import Terminal
from ..version import add_version
from ..qemu_age.errors import UserError
from ..qemu_age.program import missing
from .result import print_summary


def folder(text):
    """A folder for records: better told now than when the guest has booted."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    if not os.access(path, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{text} can't be written to")
    return path


def image(text):
    """A kernel or an initrd of the user's own."""
    path = Path(text)
    if not path.is_file() or not os.access(path, os.R_OK):
        raise argparse.ArgumentTypeError(f"{text} is no file that can be read")
    return path.resolve()


def add_guest_options(parser):
    """What is not Debian's in a guest."""
    group = parser.add_argument_group(
        "a kernel of your own",
        "It needs a serial console, an initial file system, and "
        "CONFIG_PROC_PAGE_MONITOR, all of them built in. Give --arch as well.")
    group.add_argument("--kernel", type=image, metavar="FILE",
                       help="boot it: bzImage or vmlinuz on x86-64, Image or "
                            "Image.gz on arm64 (default: Debian's)")
    group.add_argument("--initrd", type=image, metavar="FILE",
                       help="put the demo's program into this one, which has "
                            "a shell as /bin/sh (default: Debian's)")
    group.add_argument("--append", default="", metavar="OPTIONS",
                       help="more options for the kernel")


def parse_args(argv):
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo", allow_abbrev=False,
        description="Harvest the accessed pages of Debian guests once a "
                    "second, and hold them against the guests' own account.")
    parser.add_argument("--arch", action="append", choices=sorted(GUESTS),
                        help="only this one (default: both, in turn)")
    parser.add_argument("--seconds", type=count, default=12,
                        help="how long to watch each guest (default: 12)")
    parser.add_argument("--memory", type=int, default=512, metavar="MIB",
                        help="memory of each guest (default: 512)")
    parser.add_argument("--cpus", type=int, default=2,
                        help="vCPUs of each guest (default: 2)")
    parser.add_argument("--accel", default="age,thread=multi",
                        help="the accelerator (default: %(default)s)")
    parser.add_argument("--flush", choices=["request", "none"],
                        default="request",
                        help="whether a harvest asks the vCPUs to flush "
                             "their TLBs (default: request); without, what "
                             "a TLB holds on to looks old, as on hardware")
    parser.add_argument("--records", type=folder, metavar="FOLDER",
                        default=build_dir(),
                        help="where to keep the harvests, as a record for "
                             "scripts/qemu-age of each guest: demo-ARCH.age "
                             "(default: build)")
    parser.add_argument("--qemu-version", metavar="N.N",
                        help="the release of QEMU, which scripts/setup knows "
                             "(default: 10.0)")
    parser.add_argument("--only-parse", action="store_true",
                        help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE",
                        help="write everything to FILE; - is the standard "
                             "output, and the rest goes to the other one")
    add_guest_options(parser)
    add_version(parser)
    args = parser.parse_args(argv)
    if (args.kernel or args.initrd) and len(set(args.arch or ())) != 1:
        parser.error("--kernel and --initrd are for one architecture: give "
                     "--arch")
    args.arch = args.arch or ["x86_64", "aarch64"]
    if args.memory < 256:
        parser.error("--memory: at least 256, or Linux does not boot")
    if not 1 <= args.cpus <= 8:
        parser.error("--cpus: 1 to 8")
    return args


def write_json(path, reports):
    """The report for machines."""
    text = json.dumps({"version": 1,
                       "ok": all(report["ok"] for report in reports),
                       "guests": reports}, indent=2) + "\n"
    if path == "-":
        sys.stdout.write(text)
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def load_watch():
    """
    The class Watch, which needs numpy.

    The set-up installs that, and the command line is looked at before it.
    """
    try:
        # pylint: disable-next=import-outside-toplevel # see above
        from .watch import Watch
    except ImportError as e:
        raise missing(e) from None
    return Watch


def terminate(*_):
    """SIGTERM ends the demo as Ctrl-C does: in good order."""
    raise KeyboardInterrupt


def main(argv=None):
    """The demo; returns the exit status."""
    args = parse_args(argv)
    if args.only_parse:
        return 0
    try:
        watch = load_watch()
    except UserError as e:
        print(f"demo: {e}", file=sys.stderr)
        return 1
    term = Terminal(sys.stderr if args.json == "-" else sys.stdout)
    signal.signal(signal.SIGTERM, terminate)
    reports = []
    try:
        term.line("Accessed pages, harvested once a second over QMP and held "
                  "against")
        term.line("what the guests themselves say they touched")
        for arch in args.arch:
            reports.append(watch(arch, args, term).run())
        print_summary(term, reports)
    except KeyboardInterrupt:
        term.line("interrupted")
        return 130
    except BrokenPipeError:
        # Nobody reads on; what Python still wants to flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), term.stream.fileno())
        return 141
    if args.json:
        write_json(args.json, reports)
    return 0 if all(report["ok"] for report in reports) else 1
