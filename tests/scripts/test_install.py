#!/usr/bin/python3
#
# Tests of scripts/install
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is installed, what is taken out again, and what is refused.

The emulators are two short scripts.
"""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ROOT / 'scripts/install'
VERSION = (ROOT / 'VERSION').read_text('utf-8').strip()

EMULATOR = '''#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
echo "$0" "$@"
'''

NOBODY = 65534


def everything(folder):
    """All that is below a folder, as text."""
    return sorted(str(path.relative_to(folder)) for path in
                  folder.rglob('*'))


class InstallTest(unittest.TestCase):
    """A build folder, and a prefix that is not there yet."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='age-')
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.build = self.folder / 'build'
        self.build.mkdir()
        for arch in 'x86_64', 'aarch64':
            path = self.build / f'qemu-system-{arch}'
            path.write_text(EMULATOR)
            path.chmod(0o755)
        firmware = self.build / 'firmware/usr/share/seabios'
        firmware.mkdir(parents=True)
        (firmware / 'bios.bin').write_text('bios')
        (self.build / 'qemu-age.1').write_text('page')
        self.prefix = self.folder / 'a b' / 'prefix'

    def run_it(self, *args, destdir='', **kwargs):
        """The finished script."""
        return subprocess.run(
            [INSTALL, '--build', self.build, '--prefix', self.prefix, *args],
            capture_output=True, text=True, check=False,
            env={**os.environ, 'DESTDIR': str(destdir)}, **kwargs)

    def succeed(self, *args, **kwargs):
        """It has to; returns what it says."""
        done = self.run_it(*args, **kwargs)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        return done.stdout

    def refuse(self, words, *args, **kwargs):
        """It has to say so in one line with these words, and do nothing."""
        before = everything(self.folder)
        done = self.run_it(*args, **kwargs)
        self.assertEqual((done.returncode, done.stdout), (1, ''))
        self.assertEqual(done.stderr.count('\n'), 1, done.stderr)
        self.assertTrue(done.stderr.startswith('install: '), done.stderr)
        self.assertIn(words, done.stderr)
        self.assertEqual(everything(self.folder), before)

    def output(self, name, *args):
        """What an installed program prints, run from another folder."""
        done = subprocess.run(
            [self.prefix / 'bin' / name, *args], cwd='/', check=False,
            capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        return done.stdout

    def test_programs(self):
        """They work by what is installed, and leave nothing behind."""
        self.succeed()
        self.build.rename(self.folder / 'elsewhere')
        before = everything(self.prefix)
        self.assertEqual(self.output('qemu-age', '--version'),
                         f'qemu-age (age) {VERSION}\n')
        self.assertIn('age-dump-tables',
                      self.output('qemu-age', 'tables', '--help'))
        for arch in 'x86_64', 'aarch64':
            self.assertEqual(
                self.output(f'qemu-system-{arch}-age', '-S'),
                f'{self.prefix}/libexec/age/qemu-system-{arch} -S -accel age '
                f'-L {self.prefix}/share/age/firmware\n')
        self.assertEqual(everything(self.prefix), before)

    def test_parts(self):
        """All commands of qemu-age can be loaded, if their libraries can."""
        self.succeed()
        for name in 'record', 'report', 'export', 'exporter', 'top':
            done = subprocess.run(
                [self.prefix / 'bin/qemu-age', name, '--help'], cwd='/',
                capture_output=True, text=True, check=False)
            self.assertRegex(done.stdout + done.stderr,
                             'usage: |the library .* is missing')
            self.assertNotIn('Traceback', done.stderr)

    def test_places(self):
        """Texts and firmware, and no name that Debian's QEMU has."""
        self.succeed()
        for name in ('share/doc/age/LICENSE', 'share/man/man1/qemu-age.1',
                     'share/doc/age/docs/system/age.rst',
                     'share/bash-completion/completions/qemu-age',
                     'share/man/man1/qemu-system-x86_64-age.1',
                     'share/man/man1/qemu-system-aarch64-age.1',
                     'share/age/firmware/bios.bin'):
            self.assertTrue((self.prefix / name).is_file(), name)
        self.assertEqual(everything(self.prefix / 'bin'),
                         ['qemu-age', 'qemu-system-aarch64-age',
                          'qemu-system-x86_64-age'])
        for path in self.prefix.rglob('*'):
            self.assertEqual(path.stat().st_mode & 0o022, 0, path)

    def test_license_of_qemu(self):
        """That of the tree which was built, whichever release it is."""
        tree = self.folder / 'a tree'
        for folder in tree, self.build / 'qemu':
            folder.mkdir()
        (tree / 'COPYING').write_text('terms of this tree')
        (self.build / 'qemu/.stamp').write_text(f'{tree} 1.2.3 --a --b\n')
        self.succeed()
        copied = self.prefix / 'share/doc/age/qemu/COPYING'
        self.assertEqual(copied.read_text(), 'terms of this tree')

    def test_license_of_a_moved_tree(self):
        """It is beside the script, as the checkout was moved with it."""
        tree = ROOT / 'qemu-src'
        if not tree.exists():
            self.skipTest(f'there is no {tree}')
        (self.build / 'qemu').mkdir()
        (self.build / 'qemu/.stamp').write_text('/gone 1.2.3 --a --b\n')
        self.succeed()
        copied = self.prefix / 'share/doc/age/qemu/COPYING'
        self.assertEqual(copied.read_text(), (tree / 'COPYING').read_text())

    def test_uninstall(self):
        """Folders above the prefix were not there either."""
        before = everything(self.folder)
        self.succeed()
        self.succeed('--uninstall')
        self.assertEqual(everything(self.folder), before)
        self.refuse('nothing is installed', '--uninstall')

    def test_uninstall_leaves_others(self):
        """Neither files of others go, nor empty folders that were there."""
        (self.prefix / 'share/man').mkdir(parents=True)
        self.succeed()
        (self.prefix / 'bin/other').write_text('')
        self.succeed('--uninstall')
        self.assertEqual(everything(self.prefix),
                         ['bin', 'bin/other', 'share', 'share/man'])

    def test_again(self):
        """A file that is no longer installed goes."""
        before = everything(self.folder)
        self.succeed()
        page = self.prefix / 'share/man/man1/qemu-age.1'
        self.assertTrue(page.exists())
        (self.build / 'qemu-age.1').unlink()
        self.succeed()
        self.assertFalse(page.exists())
        self.succeed('--uninstall')
        before.remove('build/qemu-age.1')
        self.assertEqual(everything(self.folder), before)

    def test_half_way(self):
        """An installation that broke off can be taken out."""
        before = everything(self.folder)
        self.succeed()
        manifest = self.prefix / 'share/age/manifest'
        lines = manifest.read_text('utf-8').splitlines()
        for line in lines[-1:-20:-1]:
            if not line.endswith('/'):
                Path(line).unlink()
        self.succeed('--uninstall')
        self.assertEqual(everything(self.folder), before)

    def test_destdir(self):
        """Nothing tells of where the package was put together."""
        stage = self.folder / 'stage'
        self.succeed(destdir=stage)
        self.assertFalse(self.prefix.exists())
        inside = stage / self.prefix.relative_to('/')
        self.assertTrue((inside / 'bin/qemu-age').exists())
        self.assertNotIn(str(stage),
                         (inside / 'share/age/manifest').read_text())
        self.succeed('--uninstall', destdir=stage)
        self.assertEqual(everything(stage), [])

    def test_package(self):
        """A package has no list of files, nor licenses of its own."""
        stage = self.folder / 'stage'
        self.assertEqual(self.succeed('--package', 'some', destdir=stage), '')
        inside = stage / self.prefix.relative_to('/')
        there = everything(inside)
        for name in ('bin/qemu-age', 'share/doc/some/README.md',
                     'share/doc/some/docs/system/age.rst'):
            self.assertIn(name, there)
        self.assertNotIn('share/age/manifest', there)
        self.assertNotIn('share/doc/age', there)
        for word in 'LICENSE', 'COPYING', 'CHANGELOG', 'copyright':
            self.assertNotIn(word, ' '.join(there))
        self.refuse('--package needs DESTDIR', '--package=some')
        self.refuse('--package needs a name', '--package')
        self.refuse('the package manager takes', '--package=some',
                    '--uninstall', destdir=stage)

    def test_page(self):
        """The page of the emulators has all options of -accel age."""
        told = (ROOT / 'docs/system/age.rst').read_text('utf-8')
        options = re.findall(r'^``([a-z-]+=\S+)``$', told, re.MULTILINE)
        self.assertGreater(len(options), 5)
        page = (ROOT / 'scripts/dist/qemu-system-age.1').read_text('utf-8')
        for option in options:
            self.assertIn(option.replace('-', '\\-'), page)

    def test_refusals(self):
        self.refuse('unknown option --what', '--what')
        self.refuse('--prefix needs a directory', '--prefix')
        self.refuse('from / on', '--prefix', 'here')
        self.refuse('is no directory', '--prefix', self.build / 'qemu-age.1/x')
        (self.build / 'qemu-system-aarch64').unlink()
        self.refuse('qemu-system-aarch64 is missing: run scripts/setup')

    def test_others_file(self):
        """What somebody else has there is not overwritten."""
        (self.prefix / 'bin').mkdir(parents=True)
        (self.prefix / 'bin/qemu-age').write_text('theirs')
        self.refuse(f'{self.prefix}/bin/qemu-age is there already')

    def test_moved(self):
        """The manifest would name files of another place."""
        self.succeed()
        self.prefix = self.prefix.rename(self.folder / 'moved')
        self.refuse('was moved', '--uninstall')

    def test_not_writable(self):
        self.prefix.mkdir(parents=True)
        self.prefix.chmod(0o555)
        self.folder.chmod(0o755)
        as_user = {'user': NOBODY} if os.geteuid() == 0 else {}
        self.refuse(f'cannot write to {self.prefix}: be root', **as_user)


if __name__ == '__main__':
    unittest.main()
