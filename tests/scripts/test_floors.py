#!/usr/bin/python3
#
# Who may call whom in the accelerator
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""The floors of accel/age, as docs/devel/age.rst has them.

What a file includes is on its own floor or below, and what a header declares
is defined on the header's floor.  No two files include each other's headers,
directly or by way of others.
"""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOP = ROOT / 'accel/age'

# From the bottom up
FLOORS = ['pt', 'mmu', 'tcg', 'monitor']

# What the lowest floor may know of QEMU: for these, tests/unit has stand-ins.
PLAIN = {f'qemu/{path.name}'
         for path in (ROOT / 'tests/unit/include/qemu').iterdir()}

INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
DECLARED = re.compile(r'^[a-zA-Z][\w *\n]*?\b(age_\w+)\([^;{]*\);',
                      re.MULTILINE)
DEFINED = re.compile(r'^[a-zA-Z][\w *]*?\b(age_\w+)\([^;{]*\)\n\{',
                     re.MULTILINE)
STATIC = re.compile(r'^static\b')


def sources(top):
    """C files and headers."""
    return sorted(path for path in top.rglob('*.[ch]'))


def floor_of(path):
    """The number of the floor that a file is on; None for the stairs."""
    parts = path.relative_to(TOP).parts
    return FLOORS.index(parts[0]) if parts[0] in FLOORS else None


def included(path):
    """Files of this repository that a file includes, and all other names."""
    ours, others = [], []
    for name in INCLUDE.findall(path.read_text(encoding='utf-8')):
        near, far = path.parent / name, ROOT / name
        found = near if near.exists() else far
        if found.exists():
            ours.append(found)
        else:
            others.append(name)
    return ours, others


def functions(pattern, paths):
    """Where functions are declared or defined, by their names."""
    found = {}
    for path in paths:
        for match in pattern.finditer(path.read_text(encoding='utf-8')):
            if not STATIC.match(match[0]):
                found[match[1]] = path
    return found


def arrows(paths):
    """Which pairs of a header and its source include which others."""
    found = {}
    for path in paths:
        own = path.with_suffix('')
        found.setdefault(own, set()).update(
            other.with_suffix('') for other in included(path)[0]
            if other.with_suffix('') != own)
    return found


def circle(graph):
    """Files that lead back to the first of them; empty if there are none."""
    done = set()

    def visit(node, way):
        if node in way:
            return way[way.index(node):] + [node]
        if node in done:
            return []
        for other in sorted(graph.get(node, ())):
            found = visit(other, way + [node])
            if found:
                return found
        done.add(node)
        return []

    for start in sorted(graph):
        found = visit(start, [])
        if found:
            return [str(path.relative_to(ROOT)) for path in found]
    return []


class FloorsTest(unittest.TestCase):
    """What accel/age is, rather than what it should be."""

    def test_all_are_on_a_floor(self):
        """A new folder gets its place in the list first."""
        for path in sources(TOP):
            if path.name != 'trace.h':
                self.assertIsNotNone(floor_of(path), path)

    def test_includes_go_down(self):
        """A file knows its own floor and those below."""
        for path in sources(TOP):
            for other in included(path)[0]:
                if TOP in other.parents and floor_of(other) is not None:
                    self.assertLessEqual(floor_of(other), floor_of(path),
                                         f'{path} includes {other}')

    def test_functions_are_where_they_are_declared(self):
        """Otherwise a header would hide a call upstairs."""
        headers = [path for path in sources(TOP) if path.suffix == '.h']
        defined = functions(DEFINED, [path for path in sources(TOP)
                                      if path.suffix == '.c'])
        declared = functions(DECLARED, headers)
        self.assertGreater(len(declared), 40)
        for name, header in declared.items():
            self.assertIn(name, defined)
            self.assertEqual(floor_of(defined[name]), floor_of(header), name)

    def test_lowest_floor_is_plain(self):
        """Formats and tables are built without QEMU."""
        for path in sources(TOP / 'pt'):
            for name in included(path)[1]:
                self.assertIn(name, PLAIN, path)

    def test_no_circles(self):
        """Whoever reads a file may read what it needs first."""
        for top in (TOP, ROOT / 'hw/age-device'):
            self.assertEqual(circle(arrows(sources(top))), [])

    def test_device_knows_no_insides(self):
        """It does as any other device would."""
        for path in sources(ROOT / 'hw/age-device'):
            for other in included(path)[0]:
                self.assertNotIn(TOP, other.parents, path)


class CircleTest(unittest.TestCase):
    """What looks for circles finds them."""

    def test_circle(self):
        """A circle in which the first file has no part."""
        a, b, c = (ROOT / name for name in 'abc')
        self.assertEqual(circle({a: {b}, b: {c}, c: {b}}), ['b', 'c', 'b'])
        self.assertEqual(circle({a: {b, c}, b: {c}}), [])


if __name__ == '__main__':
    unittest.main()
