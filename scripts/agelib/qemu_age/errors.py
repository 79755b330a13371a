# SPDX-License-Identifier: GPL-2.0-or-later
"""
What goes wrong, told in one line that names the culprit and the way out.
"""


class UserError(Exception):
    """An error whose text is all that the user needs."""
