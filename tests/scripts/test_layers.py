#!/usr/bin/python3
#
# Tests of how scripts/agelib hangs together
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who imports whom, and that the packages list what is in them."""

import ast
import re
import unittest
from pathlib import Path

LIB = Path(__file__).resolve().parents[2] / 'scripts/agelib'

# What each part of the library may use, beside itself. The order leaves no
# room for a circle: each part only uses what comes before it.
USES = {
    'version': [],
    'options': [],
    'terminal': [],
    'qemu': [],
    'tables': [],
    'guest': ['qemu'],
    'soak': ['qemu', 'tables', 'guest'],
    'bench': ['version', 'options', 'terminal', 'qemu', 'guest'],
    'qemu_age': ['version', 'terminal', 'qemu', 'tables'],
    'demo': ['version', 'options', 'terminal', 'qemu', 'guest', 'qemu_age'],
}


def part_of(path):
    """The package or the single module right below the library."""
    return path.relative_to(LIB).parts[0].removesuffix('.py')


def imports(path):
    """The modules that a file imports, by their full names."""
    package = ['agelib', *path.relative_to(LIB).parent.parts]
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) + 1 - node.level] if node.level else []
            names = [node.module] if node.module else [
                alias.name for alias in node.names]
            yield from ('.'.join(base + [name]) for name in names)


def listed(path):
    """The names that a package's docstring lists."""
    text = ast.get_docstring(ast.parse(path.read_text('utf-8')))
    return re.findall(r'^- ``(\w+)``', text, re.MULTILINE)


class LayersTest(unittest.TestCase):
    """The library as it is."""

    def test_order(self):
        """The table above has no circle."""
        known = []
        for part, used in USES.items():
            self.assertLessEqual(set(used), set(known), part)
            known.append(part)

    def test_imports(self):
        """Nobody uses what the table does not permit, nor what tests have."""
        outside = {path.stem for path in LIB.parents[1].glob('tests/*/*.py')}
        files = [path for path in LIB.rglob('*.py') if path.parent != LIB
                 or path.name != '__init__.py']
        self.assertGreater(len(files), len(USES))
        for path in files:
            for name in imports(path):
                first, *rest = name.split('.')
                self.assertNotIn(first, outside, path)
                if first == 'agelib' and rest[0] != part_of(path):
                    self.assertIn(rest[0], USES[part_of(path)], path)

    def test_docstrings(self):
        """Each package lists its modules, all of them and no others."""
        packages = [LIB, *(path for path in LIB.iterdir()
                           if (path / '__init__.py').exists())]
        self.assertGreater(len(packages), 1)
        for package in packages:
            there = {path.stem for path in package.iterdir()
                     if path.suffix == '.py' or path in packages}
            there = {name for name in there if not name.startswith('__')}
            self.assertEqual(sorted(listed(package / '__init__.py')),
                             sorted(there), package)
        self.assertEqual(sorted(listed(LIB / '__init__.py')), sorted(USES))


if __name__ == '__main__':
    unittest.main()
