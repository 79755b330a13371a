# SPDX-License-Identifier: GPL-2.0-or-later
"""
The command line of ``scripts/qemu-age``, and its sub-commands.

A sub-command is a module with add_arguments(parser) and run(args), which
returns an exit status.  Only the one that is used is imported, so that the
others may lack their libraries.
"""

import argparse
import importlib
import os
import signal
import sys

from ..version import add_version
from .errors import UserError, say

COMMANDS = {
    "record": "harvest a guest at a pace, into a file",
    "report": "what a record tells: working set, idle times, heat map, ...",
    "export": "write a record in a format of others: damo, CSV, ...",
    "exporter": "offer the figures of guests to Prometheus",
    "top": "show what guests do, once a second",
    "tables": "print the page tables that age-dump-tables wrote",
}

# What a module is called where Debian has it
PACKAGES = {"numpy": "python3-numpy", "matplotlib": "python3-matplotlib",
            "rich": "python3-rich",
            "prometheus_client": "python3-prometheus-client"}

EPILOG = """\
exit status: 0 if all went well, 1 if something went wrong, which one line
tells, 2 if the command line makes no sense.

"qemu-age COMMAND --help" tells more of a command.
"""


def missing(error):
    """One line for a library that is not there."""
    name = (error.name or "").split(".")[0]
    if name not in PACKAGES:
        raise error
    return UserError(f"the library {name} is missing; this installs it: "
                     f"apt install {PACKAGES[name]}")


def load(name):
    """The module of a sub-command."""
    try:
        return importlib.import_module(f"{__package__}.cmd_{name}")
    except ImportError as e:
        raise missing(e) from None


def build_parser(wanted):
    """The parser, with the arguments of the command that is @wanted."""
    parser = argparse.ArgumentParser(
        prog="qemu-age", epilog=EPILOG,
        description="What the guests of -accel age do with their memory.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add_version(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND",
                                     required=True)
    for name, text in COMMANDS.items():
        if name == wanted:
            module = load(name)
            command = commands.add_parser(
                name, help=text, description=module.__doc__.strip(),
                formatter_class=argparse.RawDescriptionHelpFormatter)
            module.add_arguments(command)
            command.set_defaults(run=module.run, parser=command)
        else:
            commands.add_parser(name, help=text)
    return parser


def split(argv):
    """What comes before "--", and what comes behind, or None."""
    if "--" not in argv:
        return argv, None
    place = argv.index("--")
    return argv[:place], argv[place + 1:]


def main(argv=None):
    """Runs a sub-command; returns the exit status."""
    argv, behind = split(sys.argv[1:] if argv is None else argv)
    wanted = next((word for word in argv if not word.startswith("-")), None)
    try:
        args = build_parser(wanted).parse_args(argv)
        args.behind = behind
        status = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Nobody reads on, and Python is not to complain when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ImportError as e:
        text = missing(e)
    except UserError as e:
        text = e
    except OSError as e:
        text = f"{e.filename or 'output'}: {os.strerror(e.errno)}" \
            if e.errno else e
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    say(text)
    return 1
