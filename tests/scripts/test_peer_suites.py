#!/usr/bin/python3
#
# Tests of scripts/peer-suites
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""Suites of a few lines, under emulators that only tell who they are."""

import json
import re
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / 'scripts/peer-suites'

# It passes on what the wrapper made of "tcg".
EMULATOR = '''#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
echo "$@"
'''

# One test has another result under age, and one has none at all.
RUN_TESTS = r'''#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
accel=$("$QEMU" -machine q35,accel=$ACCEL)
case $1-$accel-${EL2:-} in
same-*) printf '\e[32mPASS\e[0m same (3 tests)\n' ;;
other-*age*) printf '\e[31mFAIL\e[0m other (3 tests, 1 unexpected)\n' ;;
other-*) printf '\e[32mPASS\e[0m other (3 tests)\n' ;;
level-*-y) printf '\e[33mSKIP\e[0m level (needs EL1)\n' ;;
level-*) printf '\e[32mPASS\e[0m level \n' ;;
esac
'''

JOBS = '''
build-aarch64:
 script:
 - ACCEL=tcg MAX_SMP=8 ./run_tests.sh
      same
      other
      level
      | tee results.txt

build-x86_64:
 script:
 - ACCEL=tcg ./run_tests.sh
      same
      | tee results.txt
'''

QTEST = r'''#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
case $QTEST_QEMU_BINARY in
*-x86_64) ;;
*) exit 2 ;;
esac
case $("$QTEST_QEMU_BINARY" -accel tcg) in
*age*) echo "ok 1 /x/one # SKIP no such"; echo "ok 2 /x/two"; exit 0 ;;
esac
echo "ok 1 /x/one"
echo "not ok 2 /x/two"
exit 1
'''

# Tells who it is, and who the program is that it waits for.
HANGING = r'''#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
echo "$$" >> %(mark)s
sleep 1000 &
echo "$!" >> %(mark)s
%(wait)s
'''

# As that of QEMU's tests of TCG, which find their emulator by QEMU=
MAKEFILE = r'''# SPDX-License-Identifier: GPL-2.0-or-later
help:
\t@printf '%s\n' 'Available tests:' '  run-same' '  run-other' '  run-no'
run-same:
\t@test -x $(QEMU)
run-other:
\t@$(QEMU) -accel tcg | grep -q tcg
run-no:
\t@echo '  SKIPPED no on this because'
'''.replace(r'\t', '\t')


class PeerSuitesTest(unittest.TestCase):
    """A build folder with emulators, and a folder with a suite."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='age-')
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.build = self.folder / 'build'
        for arch in 'x86_64', 'aarch64':
            self.add(f'build/qemu-system-{arch}', EMULATOR)
        self.add('suite/run_tests.sh', RUN_TESTS)
        self.add('suite/.gitlab-ci.yml', JOBS)
        self.configure('x86_64')
        self.mark = self.folder / 'mark'

    def add(self, name, text):
        """A program."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, 'utf-8')
        path.chmod(0o755)

    def configure(self, arch):
        """As the suite's own ./configure does."""
        self.add('suite/config.mak', f'SRCDIR=/x\nARCH={arch}\nBITS=64\n')

    def add_qtest(self, text):
        """some-test of x86-64, and those that are not built, or not its own."""
        folder = self.build / 'qemu/tests/qtest'
        self.add('build/qemu/tests/qtest/some-test', text)
        self.add('build/qemu/tests/qtest/wrong-test', text)
        tests = [('x86_64', 'some-test'), ('aarch64', 'wrong-test'),
                 ('x86_64', 'late-test'), ('x86_64', 'age/age-test')]
        self.add('build/qemu/meson-info/intro-tests.json', json.dumps(
            [{'cmd': [str(folder / name), '--tap', '-k'],
              'suite': ['qemu:qtest', f'qemu:qtest-{arch}']}
             for arch, name in tests]))

    def run_it(self, *args):
        """The finished script."""
        return subprocess.run([SCRIPT, '--build', self.build, *args],
                              capture_output=True, text=True, check=False)

    def run_suite(self, *args):
        """The finished script, with the suite."""
        return self.run_it('--kvm-unit-tests', self.folder / 'suite', *args)

    def test_same(self):
        done = self.run_suite()
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertRegex(done.stdout, r'same +PASS \(3 tests\) +'
                                      r'PASS \(3 tests\)\n')
        self.assertTrue(done.stdout.endswith(
            '\n1 tests under both, 0 with results that differ\n'))

    def test_different(self):
        """On Arm twice: at EL2 as well."""
        self.configure('arm64')
        record = self.folder / 'record'
        done = self.run_suite('--json', record)
        self.assertEqual((done.returncode, done.stderr), (1, ''))
        self.assertRegex(done.stdout, r'other +PASS.*FAIL.*unexpected\) '
                                      r'+DIFFERENT\n')
        self.assertIn('6 tests under both, 2 with', done.stdout)
        tests = json.loads(record.read_text('utf-8'))
        self.assertEqual([t['test'] for t in tests if not t['same']],
                         ['other', 'other'])
        self.assertEqual(tests[5]['variant'], 'at EL2')
        self.assertEqual(tests[5]['age'], ['level SKIP (needs EL1)'])

    def test_silent(self):
        """No result is not the result that is wanted."""
        done = self.run_suite('--tests', 'unknown')
        self.assertEqual(done.returncode, 2)
        self.assertIn('unknown has no result', done.stderr)

    def test_qtests(self):
        self.add_qtest(QTEST)
        done = self.run_it('--qtests', 'x86_64')
        self.assertEqual((done.returncode, done.stderr), (1, ''))
        self.assertRegex(done.stdout, r'some-test +FAIL \(2 cases\) +'
                                      r'PASS \(2 cases\) +DIFFERENT\n')
        self.assertIn('\n1 tests under both', done.stdout)

    def test_tcg_tests(self):
        self.add('build/qemu/tests/tcg/x86_64-softmmu/Makefile', MAKEFILE)
        done = self.run_it('--tcg-tests', 'x86_64')
        self.assertEqual((done.returncode, done.stderr), (1, ''))
        self.assertRegex(done.stdout, r'(?s)same +PASS +PASS\n.*'
                                      r'other +PASS +FAIL +DIFFERENT\n.*'
                                      r'no +SKIP +SKIP\n')
        done = self.run_it('--tcg-tests', 'x86_64', '--tests', 'unknown')
        self.assertEqual(done.returncode, 2)
        self.assertIn('there is no unknown', done.stderr)

    def test_timeout(self):
        """A test that stands still ends, with the emulator that it started."""
        self.add_hanging()
        done = self.run_it('--qtests', 'x86_64', '--timeout', '2')
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertRegex(done.stdout, r'some-test +TIMEOUT +TIMEOUT\n')
        self.assert_ended()

    def test_timeout_of_a_child(self):
        """What a test leaves behind has its output, and ends as well."""
        self.add_hanging('')
        done = self.run_it('--qtests', 'x86_64', '--timeout', '2')
        self.assertRegex(done.stdout, r'some-test +TIMEOUT +TIMEOUT\n')
        self.assert_ended()

    def test_stop(self):
        """Ctrl-C, or the end of a terminal, ends all of it."""
        for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
            self.add_hanging()
            with subprocess.Popen(
                    ['env', '--default-signal', SCRIPT, '--build', self.build,
                     '--qtests', 'x86_64'],
                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as done:
                while not self.mark.exists() or \
                        len(self.mark.read_text('utf-8').split()) < 2:
                    self.assertIsNone(done.poll())
                    time.sleep(0.05)
                done.send_signal(number)
                self.assertEqual(done.communicate()[1], b'')
            self.assertEqual(done.returncode, 128 + number)
            self.assert_ended()

    def add_hanging(self, wait='wait'):
        """A test that tells who it and its child are, and stands still."""
        self.mark.unlink(missing_ok=True)
        self.add_qtest(HANGING % {'mark': self.mark, 'wait': wait})

    def assert_ended(self):
        """Nothing of that test runs any more."""
        for pid in self.mark.read_text('utf-8').split():
            state = Path(f'/proc/{pid}/stat')
            for _ in range(100):
                if not state.exists() or ') Z ' in state.read_text('utf-8'):
                    break
                time.sleep(0.05)
            else:
                self.fail(f'{pid} still runs')

    def test_timeout_of_each(self):
        """The suites whose programs start others."""
        self.add('suite/run_tests.sh',
                 HANGING % {'mark': '/dev/null', 'wait': 'wait'})
        makefile = MAKEFILE.replace('@test -x $(QEMU)', '@sleep 1000')
        self.add('build/qemu/tests/tcg/x86_64-softmmu/Makefile', makefile)
        done = self.run_suite('--timeout', '2', '--tcg-tests', 'x86_64',
                              '--tests', 'same')
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertEqual(len(re.findall(r'same +TIMEOUT +TIMEOUT\n',
                                        done.stdout)), 2)

    def test_errors(self):
        """One line each."""
        self.add('suite/config.mak', 'ARCH=s390x\n')
        for args, wanted in (
                (['--kvm-unit-tests', self.build], 'no config.mak'),
                (['--kvm-unit-tests', self.folder / 'suite'], 's390x'),
                (['--qtests', 'x86_64'], 'build QEMU first'),
                (['--tcg-tests', 'x86_64'], 'found no compiler')):
            done = self.run_it(*args)
            self.assertEqual((done.returncode, done.stdout), (2, ''), args)
            self.assertEqual(done.stderr.count('\n'), 1)
            self.assertIn(wanted, done.stderr)
        self.add_qtest(QTEST)
        for name, wanted in (('wrong-test', 'there is no wrong-test'),
                             ('late-test', 'late-test: No such file')):
            done = self.run_it('--qtests', 'x86_64', '--tests', name)
            self.assertEqual(done.returncode, 2)
            self.assertIn(wanted, done.stderr)
        (self.build / 'qemu/tests/qtest/some-test').unlink()
        done = self.run_it('--qtests', 'x86_64')
        self.assertIn('tests/qtest/late-test\n', done.stderr)
        self.configure('x86_64')
        (self.build / 'qemu-system-x86_64').unlink()
        done = self.run_suite()
        self.assertIn('qemu-system-x86_64 is missing', done.stderr)


if __name__ == '__main__':
    unittest.main()
