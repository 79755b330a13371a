#!/usr/bin/python3
#
# Tests of scripts/package-deb
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is in the Debian package, and that it is the same each time.

Most of it is tested with two programs of one line as emulators; then once with
the emulators themselves. tests/package/chroot-test installs such a package.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE_DEB = ROOT / 'scripts/package-deb'
BUILD = Path(os.environ.get('AGE_BUILD', ROOT / 'build')).absolute()
ARCHS = 'x86_64', 'aarch64'
NAME = 'qemu-system-age'

EMULATOR = '''#include <stdio.h>
int main(int argc, char **argv) { return puts(argv[argc - 1]) < 0; }
'''
# As QEMU's own build has it: lintian asks for it.
FLAGS = ['-g', '-O2', '-fPIE', '-pie', '-fstack-protector-strong',
         '-Wl,-z,relro,-z,now']

CHANGELOG = '''seabios (1.2.3-4) unstable; urgency=medium

  * Text.

 -- Some Body <some@body.example>  Mon, 01 Jan 2024 00:00:00 +0000
'''

# Where files may be: Debian's QEMU has none in these places, nor any other
# package.
PLACES = re.compile(
    r'usr/(bin/(qemu-age|qemu-system-\w+-age)|libexec/age/.*|'
    rf'share/(age/.*|doc/{NAME}/.*|man/man1/qemu-(age|system-\w+-age)\.1\.gz|'
    rf'bash-completion/completions/qemu-age|lintian/overrides/{NAME}))')

NOBODY = 65534

NEEDED = ('dh', 'dpkg-shlibdeps', 'sphinx-build')
MISSING = [tool for tool in NEEDED if not shutil.which(tool)]


def output(*command, **kwargs):
    """What a command prints; it has to succeed."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE,
                          **kwargs).stdout.decode()


def make_build(folder):
    """A build folder with two small programs and firmware."""
    folder.mkdir()
    (folder / 'emulator.c').write_text(EMULATOR)
    for arch in ARCHS:
        subprocess.run(['gcc', *FLAGS, '-o', folder / f'qemu-system-{arch}',
                        folder / 'emulator.c'], check=True)
    share = folder / 'firmware/usr/share'
    (share / 'seabios').mkdir(parents=True)
    (share / 'seabios/bios.bin').write_text('bios')
    (share / 'doc/seabios').mkdir(parents=True)
    log = share / 'doc/seabios/changelog.Debian'
    log.write_text(CHANGELOG)
    subprocess.run(['gzip', '-n', log], check=True)


def package(build, folder, *args, user=None, **env):
    """The finished script, with its packages in a folder."""
    return subprocess.run(
        [PACKAGE_DEB, '--build', build, '--output', folder, *args],
        capture_output=True, text=True, check=False, user=user,
        env={**os.environ, **env})


def make(build, folder, *args, **env):
    """The path of a package that is made now."""
    done = package(build, folder, *args, **env)
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return Path(done.stdout.splitlines()[-1])


def field(path, name):
    """A field of a package's control file."""
    return output('dpkg-deb', '--field', path, name).strip()


def digest(path):
    """What tells whether two files are equal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class PackageMixin:
    """One package, unpacked, and what holds for each."""

    @classmethod
    def make_package(cls):
        """Makes it, once for all tests."""
        if MISSING:
            raise unittest.SkipTest(
                f'{", ".join(MISSING)}: missing; scripts/setup --test-guests '
                'installs the packages')
        folder = tempfile.TemporaryDirectory(prefix='age-')
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.folder.chmod(0o755)
        cls.build = cls.find_build()
        cls.path = make(cls.build, cls.folder / 'out')
        cls.files = cls.folder / 'files'
        output('dpkg-deb', '--raw-extract', cls.path, cls.files)

    def names(self):
        """Everything in it that is no folder."""
        return [str(path.relative_to(self.files))
                for path in sorted((self.files / 'usr').rglob('*'))
                if path.is_symlink() or not path.is_dir()]

    def test_file(self):
        """It is named as Debian has it, and nothing else is left."""
        version, arch = (field(self.path, name)
                         for name in ('Version', 'Architecture'))
        self.assertEqual(self.path.name, f'{NAME}_{version}_{arch}.deb')
        self.assertEqual(list(self.path.parent.iterdir()), [self.path])

    def test_places(self):
        """No file is where a file of Debian's QEMU could be."""
        names = self.names()
        self.assertEqual([name for name in names
                          if not PLACES.fullmatch(name)], [])
        for name in ('bin/qemu-age', 'bin/qemu-system-x86_64-age',
                     'bin/qemu-system-aarch64-age',
                     'libexec/age/qemu-system-x86_64',
                     'libexec/age/qemu-system-aarch64',
                     'share/man/man1/qemu-age.1.gz',
                     'share/man/man1/qemu-system-x86_64-age.1.gz',
                     'share/bash-completion/completions/qemu-age',
                     f'share/doc/{NAME}/copyright',
                     f'share/doc/{NAME}/changelog.gz',
                     f'share/doc/{NAME}/changelog.Debian.gz',
                     f'share/doc/{NAME}/docs/system/age.rst'):
            self.assertIn(f'usr/{name}', names)
        self.assertNotIn('usr/share/age/manifest', names)

    def test_other_packages(self):
        """No package that is installed here has one of the files."""
        done = subprocess.run(
            ['dpkg-query', '--search', *(f'/{name}' for name in self.names())],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
            text=True)
        self.assertEqual([line for line in done.stdout.splitlines()
                          if not line.startswith(f'{NAME}:')], [])

    def test_links(self):
        """What links point to is in the package."""
        for name in self.names():
            self.assertTrue((self.files / name).exists(), name)

    def test_paths(self):
        """Nothing tells where it was made, the emulators included."""
        for path in self.files.rglob('*'):
            if path.is_file():
                data = path.read_bytes()
                for place in ROOT, self.build, self.folder:
                    # Behind a name it is a part of another path.
                    found = re.escape(bytes(place)) + rb'\b'
                    self.assertNotRegex(data, rb'(?<![\w.}-])' + found, path)

    def test_no_scripts(self):
        """Nothing is run when it is installed, so nothing can be left."""
        self.assertEqual(sorted(os.listdir(self.files / 'DEBIAN')),
                         ['control', 'md5sums'])

    def test_stripped(self):
        for arch in ARCHS:
            sections = output('readelf', '--wide', '--sections', self.files /
                              f'usr/libexec/age/qemu-system-{arch}')
            self.assertIn('.text', sections)
            self.assertNotIn('.debug', sections)
            self.assertNotIn('.symtab', sections)

    def test_depends(self):
        """Libraries, firmware, and what qemu-age can't do without."""
        depends = field(self.path, 'Depends')
        for name in 'libc6', 'qemu-system-data', 'ipxe-qemu', 'python3-numpy':
            self.assertRegex(depends, rf'\b{name}\b')
        recommends = field(self.path, 'Recommends')
        for name in ('ovmf', 'qemu-efi-aarch64', 'python3-matplotlib',
                     'python3-rich', 'python3-prometheus-client'):
            self.assertIn(name, recommends)
        # One of both brings SeaBIOS.
        carried = (self.files / 'usr/share/age/firmware/bios.bin').exists()
        self.assertNotEqual('seabios (>=' in depends, carried)
        self.assertEqual('seabios (=' in field(self.path, 'Built-Using'),
                         carried)

    @unittest.skipUnless(shutil.which('lintian'),
                         'lintian is missing: apt install lintian')
    def test_lintian(self):
        """Not even a hint."""
        told = output('lintian', '--allow-root', '--info',
                      '--display-info', '--fail-on', 'none', self.path)
        self.assertEqual(told, '')

    def test_programs(self):
        """They run from where it is unpacked."""
        version = (ROOT / 'VERSION').read_text('utf-8').strip()
        self.assertEqual(
            output(self.files / 'usr/bin/qemu-age', '--version'),
            f'qemu-age (age) {version}\n')
        for arch in ARCHS:
            self.assertTrue(output(
                self.files / f'usr/bin/qemu-system-{arch}-age', '--version'))


class SmallTest(PackageMixin, unittest.TestCase):
    """Two small programs as emulators, so that more can be tried."""

    @classmethod
    def setUpClass(cls):
        cls.make_package()

    @classmethod
    def find_build(cls):
        """A build folder of its own"""
        build = cls.folder / 'build'
        make_build(build)
        return build

    def refuse(self, words, *args, status=1, **env):
        """It has to say so in one line, and to leave nothing."""
        before = sorted(self.folder.rglob('*'))
        done = package(self.build, self.folder / 'out', *args, **env)
        self.assertEqual((done.returncode, done.stdout), (status, ''))
        self.assertRegex(done.stderr, r'\Apackage-deb: .*\n\Z')
        self.assertIn(words, done.stderr)
        self.assertEqual(sorted(self.folder.rglob('*')), before)

    def test_same_bytes(self):
        """Of another place, by a user of other habits."""
        second = self.folder / 'second'
        old = os.umask(0o077)
        try:
            path = make(self.build, second, TZ='Asia/Tokyo', LANG='C',
                        LC_ALL='C', DEB_BUILD_OPTIONS='nostrip')
        finally:
            os.umask(old)
        self.assertEqual((path.name, digest(path)),
                         (self.path.name, digest(self.path)))

    @unittest.skipUnless(os.geteuid() == 0, 'all of it is run by a user')
    def test_user(self):
        """Nobody has to be root, and the files are root's all the same."""
        if subprocess.run(['test', '-r', PACKAGE_DEB], user=NOBODY,
                          check=False).returncode:
            self.skipTest(f'{ROOT} is closed to other users')
        theirs = self.folder / 'theirs'
        theirs.mkdir()
        os.chown(theirs, NOBODY, NOBODY)
        # The history may be closed to them.
        time = '1234567890'
        path = make(self.build, theirs, user=NOBODY, HOME='/nonexistent',
                    TMPDIR=str(theirs), SOURCE_DATE_EPOCH=time)
        ours = make(self.build, self.folder / 'ours', SOURCE_DATE_EPOCH=time)
        self.assertEqual(digest(path), digest(ours))

    def test_times(self):
        """All of it is as old as it is told to be, and so is the version."""
        path = make(self.build, self.folder / 'times',
                    SOURCE_DATE_EPOCH='1234567890')
        listing = output('dpkg-deb', '--contents', path,
                         env={**os.environ, 'TZ': 'UTC'})
        self.assertEqual(set(re.findall(r' (\d{4}-\d\d-\d\d \d\d:\d\d) ',
                                        listing)), {'2009-02-13 23:31'})
        self.assertRegex(listing, r'(?m)^\S+ root/root ')
        self.assertNotRegex(listing, r'(?m)^\S+ (?!root/root )')
        if '## Unreleased' in (ROOT / 'CHANGELOG.md').read_text('utf-8'):
            self.assertIn('+20090213-1', field(path, 'Version'))

    def test_debug(self):
        """A second package for gdb, if it is asked for."""
        path = make(self.build, self.folder / 'debug', '--dbgsym',
                    DEBEMAIL='some@body.example', DEBFULLNAME='S. & B./body')
        self.assertTrue(path.name.startswith(f'{NAME}_'), path)
        other = path.with_name(path.name.replace('age_', 'age-dbgsym_'))
        self.assertIn('/usr/lib/debug/.build-id/',
                      output('dpkg-deb', '--contents', other))
        self.assertEqual(field(path, 'Maintainer'),
                         'S. & B./body <some@body.example>')

    def test_firmware(self):
        """Where Debian's SeaBIOS is new enough it is not in the package."""
        firmware = self.build / 'firmware'
        firmware.rename(self.build / 'elsewhere')
        try:
            path = make(self.build, self.folder / 'without')
        finally:
            (self.build / 'elsewhere').rename(firmware)
        self.assertIn('seabios (>= ', field(path, 'Depends'))
        self.assertNotIn('seabios', field(path, 'Built-Using'))
        self.assertNotIn('share/age/firmware',
                         output('dpkg-deb', '--contents', path))

    def test_refusals(self):
        self.refuse('unknown option --what', '--what')
        self.refuse('--build needs a directory', '--build')
        self.refuse('qemu-system-x86_64 is missing: run scripts/setup',
                    '--build', self.folder)
        self.refuse('cannot make', '--output', self.build / 'emulator.c/x')

    def test_missing_tools(self):
        """It says how to get them."""
        tools = self.folder / 'tools'
        tools.mkdir()
        for name in 'bash', 'dirname', 'realpath', 'strip', 'dpkg-deb':
            (tools / name).symlink_to(shutil.which(name))
        self.refuse('as root, run: apt-get install -y --no-install-recommends '
                    'debhelper dpkg-dev python3-sphinx\n', PATH=str(tools))


class RealTest(PackageMixin, unittest.TestCase):
    """The emulators that are built."""

    @classmethod
    def setUpClass(cls):
        cls.make_package()

    @classmethod
    def find_build(cls):
        """The one, if it is built"""
        for arch in ARCHS:
            path = BUILD / f'qemu-system-{arch}'
            if not path.exists():
                raise unittest.SkipTest(f'{path} is not built')
        return BUILD

    def test_libraries(self):
        """Those of the emulators were found."""
        self.assertIn('libglib2.0-0', field(self.path, 'Depends'))

    def test_same_bytes(self):
        path = make(self.build, self.folder / 'second')
        self.assertEqual(digest(path), digest(self.path))

    def test_sources(self):
        """QEMU's messages name its sources from the top of their tree on."""
        stamp = (self.build / 'qemu/.stamp').read_text('utf-8')
        tree = re.match(r'(.*) [\d.]+ --', stamp)[1]
        seen = os.path.relpath(tree, os.path.realpath(self.build / 'qemu'))
        for arch in ARCHS:
            path = self.files / f'usr/libexec/age/qemu-system-{arch}'
            data = path.read_bytes()
            self.assertIn(b'\0accel/tcg/cputlb.c\0', data)
            self.assertEqual(data.count(f'\0{seen}/'.encode()), 0, path)


if __name__ == '__main__':
    unittest.main()
