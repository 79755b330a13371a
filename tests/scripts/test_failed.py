#!/usr/bin/python3
#
# Tests of what a failed functional test leaves behind, and of running one
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""A test that fails, with an emulator that only speaks QMP, and no more."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
TOP = Path(__file__).resolve().parents[2]
FUNCTIONAL = TOP / 'tests/functional'
sys.path.insert(0, str(TOP / 'scripts'))

from agelib.qemu import record

# It answers everything with nothing, until it is told to quit.
EMULATOR = '''#!/usr/bin/python3
import json, re, sys
args = " ".join(sys.argv)
print("the emulator says hello", file=sys.stderr, flush=True)
with open(re.search("logfile=([^ ]+)", args)[1], "w") as console:
    console.write("the guest says hello")
qmp = open(int(re.search("id=qmp0,fd=([0-9]+)", args)[1]), "r+b", 0)
qmp.write(b'{"QMP": {"capabilities": []}}\\n')
while line := qmp.readline():
    answer = json.dumps({"return": {}, "id": json.loads(line)["id"]})
    qmp.write(answer.encode() + b"\\n")
'''

PROGRAM = f'''
import sys, time, unittest
sys.path.insert(0, "{FUNCTIONAL}")
import common
from agelib.qemu.emulator import Emulator
ARGS = common.parse_args("A test of tests")

class Own(unittest.TestCase):
    def test_bad(self):
        with Emulator(ARGS.arch, []) as emulator:
            emulator.command("query-bad")
            self.fail("bad luck")

    def test_good(self):
        with Emulator(ARGS.arch, []) as emulator:
            emulator.command("query-good")

    def test_hang(self):
        with Emulator(ARGS.arch, []):
            common.comment("hanging")
            time.sleep(600)

class Shared(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.emulator = Emulator(ARGS.arch, [])
        cls.addClassCleanup(cls.emulator.stop)
        cls.emulator.start()

    def test_a_bad(self):
        self.fail("bad luck")

    def test_b_good(self):
        with Emulator(ARGS.arch, []):
            self.emulator.command("query-later")

class Unready(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise RuntimeError("no set-up")

    def test_never(self):
        pass

common.run_classes([Own, Shared, Unready], ARGS)
'''


def write_script(path, text):
    """A program."""
    path.write_text(text, 'utf-8')
    path.chmod(0o755)


class FakeBuild(unittest.TestCase):
    """A build folder with the emulator above."""

    NAME = ''

    def setUp(self):
        folder = self.enterContext(
            tempfile.TemporaryDirectory(prefix='age-'))
        self.build = Path(folder).resolve()
        self.failed = self.build / 'failed' / self.NAME
        write_script(self.build / 'qemu-system-x86_64', EMULATOR)

    def start(self, *command, **env):
        """A program of the repository, with this build folder."""
        return subprocess.Popen(
            [sys.executable, *map(str, command), '--build', self.build],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | env)

    def read(self, emulator, name):
        """A file that an emulator left."""
        return (self.failed / emulator / name).read_text('utf-8')


class FailedTest(FakeBuild):
    """Runs the program above, and looks at what it leaves."""

    NAME = 'fake-x86_64'

    def setUp(self):
        super().setUp()
        self.program = self.build / 'test_fake.py'
        write_script(self.program, PROGRAM)

    def run_test(self, *only):
        """Exit status and lines of some of the tests above."""
        program = self.start(self.program, '--arch', 'x86_64', '--only', *only)
        output = program.communicate(timeout=120)[0]
        return program.returncode, output.splitlines()

    def names(self):
        """What is in the folder."""
        return sorted(path.name for path in self.failed.iterdir())

    def test_failure(self):
        """The folder of the emulator that the failed test had, no other."""
        status, lines = self.run_test('Own.test_bad', 'Own.test_good')
        self.assertEqual(status, 1, lines)
        self.assertRegex(lines[-1], f'^# .*: {self.failed}$')
        self.assertIn('ok 2 - Own.test_good', lines)
        self.assertEqual(self.names(), ['emulator-1', 'failed'])
        told = (self.failed / 'failed').read_text('utf-8')
        self.assertEqual(told, 'Own.test_bad: bad luck\n  emulator-1\n')
        self.assertIn('the emulator says hello',
                      self.read('emulator-1', 'output'))
        self.assertIn('the guest says hello',
                      self.read('emulator-1', 'console'))
        self.assertIn('-accel age', self.read('emulator-1', 'command'))
        self.assertIn('status', self.read('emulator-1', 'end'))
        self.assertRegex(self.read('emulator-1', 'qmp0'),
                         r' <- {"QMP": (.*\n)+.* -> .*"query-bad".*\n'
                         r'.* <- {"return": {}')

    def test_success(self):
        """A test that passes leaves nothing, and removes the old folder."""
        self.run_test('Own.test_bad')
        self.assertTrue(self.failed.exists())
        status, lines = self.run_test('Own.test_good')
        self.assertEqual(status, 0, lines)
        self.assertEqual(lines[-1], '1..1')
        self.assertFalse((self.build / 'failed').exists())

    def test_shared(self):
        """An emulator of several tests is kept to its end."""
        status, lines = self.run_test('Shared')
        self.assertEqual(status, 1, lines)
        self.assertEqual(self.names(), ['emulator-1', 'failed'])
        self.assertIn('query-later', self.read('emulator-1', 'qmp0'))

    def test_set_up(self):
        """What fails before its first test."""
        status, lines = self.run_test('Unready')
        self.assertEqual(status, 1, lines)
        self.assertTrue(lines[-1].endswith(str(self.failed)), lines)
        self.assertEqual(self.names(), ['failed'])

    def test_time_out(self):
        """A test that is told to end tells where it was."""
        program = self.start(self.program, '--arch', 'x86_64', '--only',
                             'Own.test_hang')
        self.addCleanup(program.stdout.close)
        self.assertEqual(program.stdout.readline(), '# hanging\n')
        program.terminate()
        lines = program.stdout.read().splitlines()
        self.assertEqual(program.wait(120), 128 + 15)
        self.assertTrue(lines[-1].endswith(str(self.failed)), lines)
        self.assertIn('in test_hang',
                      (self.failed / 'python').read_text('utf-8'))
        self.assertIn('Own.test_hang',
                      (self.failed / 'failed').read_text('utf-8'))
        self.assertIn('hello', self.read('emulator-1', 'console'))

    def test_unknown(self):
        """A name that no test has is an error, and not nothing to do."""
        status, lines = self.run_test('Own.test_ugly')
        self.assertEqual(status, 1)
        self.assertEqual(len(lines), 1)
        self.assertIn('no Own.test_ugly', lines[0])


class RunTest(FakeBuild):
    """tests/functional/run, with a test that needs a real emulator."""

    NAME = 'firmware-x86_64'
    CASE = 'X86Firmware.test_seabios_q35'

    def run_run(self, *options, **env):
        """Runs it; its status and output."""
        program = self.start(FUNCTIONAL / 'run', 'firmware', 'x86_64',
                             *options, **env)
        return program.communicate(timeout=120)[0]

    def test_list(self):
        """The names of all tests, and no more."""
        lines = self.run_run('--list').splitlines()
        self.assertIn(self.CASE, lines)
        self.assertFalse(self.failed.exists())

    def test_options(self):
        """Options for the emulator come last, and are taken apart."""
        for options, end in ('-d "a b"', " -d 'a b'\n"), ('-S', ' -S\n'):
            self.run_run('--only', self.CASE, '--qemu-args', options)
            command = self.read('emulator-1', 'command')
            self.assertTrue(command.endswith(end), command)

    def test_gdb(self):
        """Each emulator is started by gdbserver, and we are told so."""
        write_script(self.build / 'gdbserver',
                     '#!/bin/sh\necho server $2 >&2\nshift 2\nexec "$@"\n')
        path = f'{self.build}:{os.environ["PATH"]}'
        output = self.run_run('--only', self.CASE, '--gdb', PATH=path)
        self.assertRegex(output, r"# gdb .*'target remote 127.0.0.1:\d+'.*"
                         r'/qemu-system-x86_64\n')
        self.assertRegex(self.read('emulator-1', 'output'),
                         r'server 127.0.0.1:\d+')

    def test_no_gdb(self):
        """One line says what is missing."""
        output = self.run_run('--gdb', PATH=str(self.build))
        self.assertRegex(output, r'^run: .*gdbserver.*\n$')


class TranscriptTest(unittest.TestCase):
    """Files of a bounded size."""

    def test_size(self):
        """Long messages are cut, and old ones go."""
        with tempfile.TemporaryDirectory(prefix='age-') as folder:
            path = Path(folder) / 'qmp0'
            transcript = record.Transcript(path)
            transcript.add('->', b'first')
            message = b'x' * record.MESSAGE_BYTES + b'more'
            for _ in range(3 * record.FILE_BYTES // len(message)):
                transcript.add('<-', message)
            transcript.add('->', b'last')
            transcript.close()
            text = path.read_text('utf-8')
            names = sorted(os.listdir(folder))
            size = sum(file.stat().st_size for file in path.parent.iterdir())
        self.assertEqual(names, ['qmp0', 'qmp0.old'])
        self.assertLess(size, 2 * record.FILE_BYTES + 2 * len(message))
        self.assertRegex(text, r'x \.\.\. \(2004 bytes\)\n')
        self.assertRegex(text, r' -> last\n$')
        self.assertNotIn('first', text)


if __name__ == '__main__':
    unittest.main()
