#!/usr/bin/python3
#
# Tests of scripts/dist/qemu-system-age
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the wrapper makes of a command line, told by an emulator of echoes."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

WRAPPER = Path(__file__).resolve().parents[2] / 'scripts/dist/qemu-system-age'

ECHO = '''#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
printf '%s\\n' "$@"
'''


class WrapperTest(unittest.TestCase):
    """An installation with nothing but the wrapper and the echo."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='age-')
        self.addCleanup(folder.cleanup)
        self.prefix = Path(folder.name) / 'a prefix'
        self.wrapper = self.prefix / 'bin/qemu-system-x86_64-age'
        self.emulator = self.prefix / 'libexec/age/qemu-system-x86_64'
        for path in self.wrapper, self.emulator:
            path.parent.mkdir(parents=True)
        shutil.copy(WRAPPER, self.wrapper)
        self.emulator.write_text(ECHO)
        self.emulator.chmod(0o755)

    def run_it(self, *args, options=None, program=None):
        """The finished wrapper."""
        env = dict(os.environ)
        env.pop('QEMU_AGE_OPTIONS', None)
        if options:
            env['QEMU_AGE_OPTIONS'] = options
        return subprocess.run([program or self.wrapper, *args], env=env,
                              capture_output=True, text=True, check=False)

    def check(self, args, wanted, **kwargs):
        """What the emulator gets for @args."""
        done = self.run_it(*args, **kwargs)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertEqual(done.stdout.split('\n')[:-1], wanted)

    def test_accel(self):
        self.check(['-accel', 'tcg'], ['-accel', 'age'])
        self.check(['--accel', 'accel=tcg,thread=single'],
                   ['-accel', 'age,thread=single'])

    def test_machine(self):
        """As libvirt probes, and as others write it."""
        self.check(['-machine', 'none,accel=kvm:tcg', '-S'],
                   ['-accel', 'kvm', '-accel', 'age', '-machine', 'none',
                    '-S'])
        self.check(['-M', 'q35,accel=tcg,usb=off'],
                   ['-accel', 'age', '-machine', 'q35,usb=off'])
        self.check(['-machine', 'accel=tcg'], ['-accel', 'age'])

    def test_default(self):
        self.check([], ['-accel', 'age'])
        self.check(['-M', 'q35'], ['-machine', 'q35', '-accel', 'age'])

    def test_options(self):
        """They go to age alone."""
        self.check(['-accel', 'kvm', '-accel', 'tcg,thread=multi'],
                   ['-accel', 'kvm', '-accel',
                    'age,thread=multi,page-size=2m,flush=request'],
                   options='page-size=2m,flush=request')
        self.check(['-machine', 'q35,accel=kvm:tcg'],
                   ['-accel', 'kvm', '-accel', 'age,page-size=2m',
                    '-machine', 'q35'], options='page-size=2m')
        self.check([], ['-accel', 'age,page-size=2m'], options='page-size=2m')

    def test_rest(self):
        """Nothing else is touched, whatever is in it."""
        rest = ['-append', 'a  b "tcg" *', '', '-name', 'tcg', '-accel',
                'qtest', '-machine', 'q35,x=a,,accel=tcg,y=b', 'disk image']
        self.check(rest, rest)

    def test_dropped_options(self):
        """libvirt 9.0 gives them to any QEMU; they went with QEMU 9.0."""
        self.check(['-M', 'virt', '-no-acpi', '-accel', 'tcg', '-no-hpet'],
                   ['-machine', 'virt', '-machine', 'acpi=off',
                    '-accel', 'age', '-machine', 'hpet=off'])

    def test_argument_missing(self):
        for name in '-accel', '-machine':
            self.check([name], [name])

    def test_firmware(self):
        """Ours is looked for behind what the user names."""
        firmware = self.prefix / 'share/age/firmware'
        firmware.mkdir(parents=True)
        self.check(['-L', 'x', '-accel', 'tcg'],
                   ['-L', 'x', '-accel', 'age', '-L', str(firmware)])

    def test_link(self):
        """A link from elsewhere, of any name."""
        link = self.prefix.parent / 'qemu'
        link.symlink_to(self.wrapper)
        self.check([], ['-accel', 'age'], program=link)

    def test_emulator_gone(self):
        self.emulator.unlink()
        done = self.run_it('-S')
        self.assertEqual((done.returncode, done.stdout), (1, ''))
        self.assertEqual(done.stderr, f'qemu-system-x86_64-age: {self.emulator}'
                         ' is missing: install age again\n')


if __name__ == '__main__':
    unittest.main()
