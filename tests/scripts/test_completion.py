#!/usr/bin/python3
#
# Tests of the completion for bash
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""What bash offers for qemu-age is what its parser takes."""

import subprocess
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
SCRIPTS = Path(__file__).resolve().parents[2] / 'scripts'
sys.path.insert(0, str(SCRIPTS))

# pylint: disable=wrong-import-position  # the path has to be there first
from agelib.qemu_age import program
from agelib.qemu_age.errors import UserError

ASK = '''
. "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_qemu_age
printf '%s\\n' "${COMPREPLY[@]}"
'''


def offered(*words):
    """What bash offers for the last one of these words."""
    done = subprocess.run(
        ['bash', '-euo', 'pipefail', '-c', ASK, 'bash',
         SCRIPTS / 'dist/qemu-age.bash', 'qemu-age', *words],
        stdout=subprocess.PIPE, text=True, check=True)
    return sorted(done.stdout.split())


def actions_of(command=None):
    """What a command takes, or the program itself."""
    # argparse has no other way to ask.
    # pylint: disable=protected-access
    actions = program.build_parser(command)._actions
    if command:
        commands = next(action for action in actions
                        if action.dest == 'command')
        actions = commands.choices[command]._actions
    return actions


def long_options(actions):
    """Those are offered: an option without a long name would be missed."""
    return sorted([name for name in action.option_strings
                   if name.startswith('--')][0]
                  for action in actions if action.option_strings)


class CompletionTest(unittest.TestCase):
    """The file against the parser."""

    def each(self):
        """(command, what it takes) of all commands, but for missing parts."""
        for command in program.COMMANDS:
            try:
                yield command, actions_of(command)
            except UserError as e:
                self.skipTest(str(e))

    def test_commands(self):
        self.assertEqual(offered(''), sorted(program.COMMANDS))
        self.assertEqual(offered('--'), long_options(actions_of()))
        self.assertEqual(offered('exp'), ['export', 'exporter'])

    def test_options(self):
        for command, actions in self.each():
            self.assertEqual(offered(command, '-'), long_options(actions),
                             command)
            self.assertEqual(offered('--x', command, 'file', '-'),
                             long_options(actions), command)

    def test_values(self):
        """An option with a choice, and one without: that may be a file."""
        for command, actions in self.each():
            for action in actions:
                for name in action.option_strings:
                    if action.choices and name.startswith('--'):
                        self.assertEqual(offered(command, name, ''),
                                         sorted(action.choices), name)

    def test_words(self):
        for command, actions in self.each():
            words = [word for action in actions for word in
                     action.choices or [] if not action.option_strings]
            self.assertEqual(offered(command, 'file', ''), sorted(words))


if __name__ == '__main__':
    unittest.main()
