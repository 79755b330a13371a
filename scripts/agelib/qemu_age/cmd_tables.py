# SPDX-License-Identifier: GPL-2.0-or-later
"""
Print the page tables that the QMP command age-dump-tables wrote to a file.
"""

from ..tables import show
from ..tables.entry import TablesError
from .errors import UserError

__doc__ = show.__doc__


def add_arguments(parser):
    """The arguments of this sub-command."""
    show.add_arguments(parser)


def run(args):
    """Carries it out."""
    try:
        show.show(args)
    except TablesError as e:
        raise UserError(f"{args.file}: {e}") from None
    return 0
