# SPDX-License-Identifier: GPL-2.0-or-later
"""
Which lines of a text are too long: reStructuredText and Markdown.

What can't be wrapped may be longer: a word, such as an address, and what is in
a literal block, such as a command or what a program printed.
"""

import re

WIDTH = 80

# The marker of a list's item, or what makes a comment or a target
MARKER = re.compile(r'\s*(?:[-*#]|\d+\.|\* -|\.\.|\|)?\s+')
LITERAL = re.compile(r'\s*\.\. (?:code-block|parsed-literal)::')


def indent(line):
    """How far a line is indented."""
    return len(line) - len(line.lstrip())


def is_one_word(line):
    """Whether there is no place to break a line before it is too long."""
    match = MARKER.match(line)
    start = match.end() if match else 0
    return ' ' not in line[start:WIDTH + 1]


def opens_rst(line):
    """Whether what is indented below a line is a literal block."""
    if line.lstrip().startswith('.. '):
        return LITERAL.match(line) is not None
    return line.rstrip().endswith('::')


def literal_rst(lines):
    """Numbers of the lines in literal blocks, from 0."""
    found, base = set(), None
    for number, line in enumerate(lines):
        if base is not None and line.strip() and indent(line) <= base:
            base = None
        if base is not None:
            found.add(number)
        elif opens_rst(line):
            base = indent(line)
    return found


def literal_md(lines):
    """Numbers of the lines in blocks of code, fenced or indented by four."""
    found, fenced, open_ = set(), False, False
    for number, line in enumerate(lines):
        if line.lstrip().startswith('```'):
            fenced = not fenced
        above = lines[number - 1] if number else ''
        open_ = indent(line) >= 4 and (open_ or not above.strip())
        if fenced or open_:
            found.add(number)
        # An empty line does not end a block.
        open_ = open_ or (not line.strip() and number - 1 in found)
    return found


def too_long(lines, markdown):
    """[(number from 1, columns)] of the lines that should be wrapped."""
    literal = literal_md(lines) if markdown else literal_rst(lines)
    return [(number + 1, len(line)) for number, line in enumerate(lines)
            if len(line) > WIDTH and number not in literal
            and not is_one_word(line)]
