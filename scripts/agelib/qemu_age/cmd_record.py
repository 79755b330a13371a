# SPDX-License-Identifier: GPL-2.0-or-later
"""
Harvest a guest at a pace, and keep what was young each time in a file.

The guest is one whose QEMU has a QMP socket (-qmp
unix:PATH,server=on,wait=off), or one that is started by a command behind "--":
then it is recorded from its first instruction, and ends when the record does.
-accel age is added to a command that names no accelerator.

Ctrl-C ends a record.  Whatever else does, all but the last line can be read.
"""

from .errors import UserError, say
from .launch import Launched
from .options import add_harvest_options, source_maker
from .recorder import Recorder
from .recordfile import Header, Writer
from .source import connect
from .stop import Stop
from .units import parse_positive_time, size_text, time_text


def add_arguments(parser):
    """The arguments of this sub-command."""
    parser.usage = ("qemu-age record -o FILE [OPTION]... SOCKET\n"
                    "       qemu-age record -o FILE [OPTION]... -- "
                    "COMMAND [ARGUMENT]...")
    parser.add_argument("-o", "--output", metavar="FILE", required=True,
                        help="the record, which must not be there yet")
    parser.add_argument("--for", metavar="TIME", dest="duration",
                        type=parse_positive_time,
                        help="end after that time (default: with the guest)")
    add_harvest_options(parser, 1, "also which pages were written",
                        "ask vCPUs to flush their TLBs, so that pages in use "
                        "all the time stay young (request, the default), or "
                        "leave the guest alone (none)")
    parser.add_argument("--name", help="what to call the guest (default: what "
                                       "its -name says, or the socket's or "
                                       "the command's name)")
    parser.add_argument("--quiet", action="store_true",
                        help="say nothing unless something is wrong")
    parser.add_argument("socket", nargs="?", metavar="SOCKET",
                        help="the QMP socket of a guest that runs")


def header(args, source, from_start):
    """What the record begins with."""
    return Header(args.name or source.title, args.interval, args.flush,
                  args.dirty, from_start,
                  source.info["version"], source.info.get("format", ""))


def record(args, source, stop, from_start, begun=lambda: None):
    """Records a source to the end; returns why it ended."""
    with Writer(args.output, header(args, source, from_start)) as writer:
        recorder = Recorder(source, writer, args.interval, args.flush,
                            args.dirty, say)
        why = recorder.run(stop, args.duration, begun)
        if why.startswith("refused"):
            raise UserError(why.removeprefix("refused: "))
        if not args.quiet:
            say(f"{args.output}: {recorder.harvests} harvests in "
                f"{time_text(max(recorder.tick, 0) * args.interval)}, "
                f"{size_text(writer.bytes)}; ended: {why}")
    return why


def record_socket(args, stop):
    """Records the guest behind a socket."""
    with stop.at_once():
        qmp = connect(args.socket)
    with source_maker(args)(qmp, args.socket) as source:
        record(args, source, stop, False)
    return 0


def record_command(args, stop):
    """Records a QEMU of our own; returns its exit status."""
    with Launched(args.behind, stop.at_once) as guest:
        why = record(args, guest.source, stop, True, guest.go)
        ended = why.startswith("gone")
        status = guest.end()
    return max(status, 0) if ended else 0


def run(args):
    """Carries it out."""
    if bool(args.socket) == bool(args.behind):
        args.parser.error('give a SOCKET, or "--" and a command')
    if args.behind and args.history:
        args.parser.error("--history is for a guest behind a SOCKET: one that "
                          "is started has no other client")
    with Stop() as stop:
        return (record_command if args.behind else record_socket)(args, stop)
