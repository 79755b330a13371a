# SPDX-License-Identifier: GPL-2.0-or-later
"""
The version of this source, which all of its tools tell.
"""

from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "VERSION"


def version():
    """The version, as the file VERSION has it."""
    return FILE.read_text("utf-8").strip()


def add_version(parser):
    """Gives a command line the option --version."""
    name = Path(parser.prog).name
    parser.add_argument("--version", action="version",
                        version=f"{name} (age) {version()}",
                        help="show the version and exit")
