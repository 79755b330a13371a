#!/usr/bin/python3
#
# Tests of the manual page qemu-age(1)
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""The page has each sub-command and option that there is, and no others.

A section has options of the sub-commands that its title names, which is one, or
some behind a colon.
"""

import argparse
import importlib.machinery
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / 'scripts'))

# The path above has it.
# pylint: disable=wrong-import-position
from agelib.qemu_age.errors import UserError
from agelib.qemu_age.program import COMMANDS, build_parser

PAGE = ROOT / 'docs/tools/qemu-age.rst'
TITLE = re.compile(r'^(.+)\n-{3,}$', re.MULTILINE)
OPTION = re.compile(r'^\.\. option:: (.+)$', re.MULTILINE)

# Those that argparse adds, and the program has
GENERAL = {'-h', '--help', '--version'}


def sections():
    """[(title, text)] of the page."""
    parts = TITLE.split(PAGE.read_text(encoding='utf-8'))
    return list(zip(parts[1::2], parts[2::2]))


def commands_of(title):
    """The sub-commands whose options a section has."""
    return set(re.findall(r'\w+', title.rpartition(':')[2])) & set(COMMANDS)


def documented():
    """{sub-command: {option: what follows it}}"""
    found = {name: {} for name in COMMANDS}
    for title, text in sections():
        for line in OPTION.findall(text):
            for option in line.split(', '):
                flag, _, value = option.partition(' ')
                for name in commands_of(title):
                    found[name][flag] = value
    return found


def value_text(action):
    """How an option's value is written."""
    if action.nargs == 0:
        return ''
    return action.metavar or '|'.join(action.choices or
                                      [action.dest.upper()])


def sub_parser(name):
    """The parser of a sub-command."""
    try:
        parser = build_parser(name)
    except UserError as error:
        raise unittest.SkipTest(str(error)) from None
    # argparse has no public way to what it was given.
    # pylint: disable=protected-access
    return next(action for action in parser._actions if isinstance(
        action, argparse._SubParsersAction)).choices[name]


def existing(name):
    """{option: what follows it} of a sub-command."""
    # As above
    # pylint: disable=protected-access
    return {flag: value_text(action) for action in sub_parser(name)._actions
            for flag in action.option_strings if flag not in GENERAL}


def builder():
    """scripts/build-manual as a module."""
    loader = importlib.machinery.SourceFileLoader(
        'build_manual', str(ROOT / 'scripts/build-manual'))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class ManualTest(unittest.TestCase):
    """The source of the page."""

    def test_commands(self):
        """Each has a section, and a line in the synopsis."""
        titles = dict(sections())
        self.assertLessEqual(set(COMMANDS), set(titles))
        named = re.findall(r'^\*\*qemu-age (\w+)', titles['Synopsis'],
                           re.MULTILINE)
        self.assertEqual(set(named), set(COMMANDS))

    def test_options(self):
        """The page and the command lines have the same, with their values."""
        told = documented()
        for name in COMMANDS:
            with self.subTest(name):
                self.assertEqual(told[name], existing(name))

    def test_general(self):
        """What every command line has."""
        told = OPTION.findall(dict(sections())['General options'])
        self.assertEqual({flag for line in told for flag in line.split(', ')},
                         GENERAL)

    def test_choices(self):
        """Reports and formats are named."""
        titles = dict(sections())
        for name, word in ('report', 'report'), ('export', 'to'):
            # As above
            # pylint: disable=protected-access
            action = next(action for action in sub_parser(name)._actions
                          if action.dest == word)
            for choice in action.choices:
                self.assertIn(f'``{choice}``', titles[name])


@unittest.skipUnless(shutil.which('sphinx-build'),
                     'sphinx-build is missing: apt install python3-sphinx')
class PageTest(unittest.TestCase):
    """The page itself."""

    def test_page(self):
        """It has the sections that a manual page has, and each option."""
        with tempfile.TemporaryDirectory(prefix='age-') as folder:
            done = subprocess.run([ROOT / 'scripts/build-manual', folder],
                                  check=True, stdout=subprocess.PIPE,
                                  text=True)
            page = Path(done.stdout.strip()).read_text(encoding='utf-8')
        page = page.replace('\\-', '-').replace('\\fP', '').replace('\\fB', '')
        self.assertRegex(page, r'(?m)^\.TH "QEMU-AGE" "1" ')
        self.assertNotIn('\n.ft ', page)
        self.assertIn('qemu-age - ', page)
        for title in 'SYNOPSIS', 'EXIT STATUS', 'EXAMPLES':
            self.assertRegex(page, rf'(?m)^\.SH "?{title}')
        for options in documented().values():
            for flag in options:
                self.assertIn(flag, page)

    def test_error(self):
        """Without sphinx-build it is told how to get it."""
        module = builder()
        module.shutil.which = lambda _: None
        self.addCleanup(setattr, module.shutil, 'which', WHICH)
        with self.assertRaisesRegex(module.ManualError, 'apt install'):
            module.build(Path('/nonexistent'))


WHICH = shutil.which

if __name__ == '__main__':
    unittest.main()
