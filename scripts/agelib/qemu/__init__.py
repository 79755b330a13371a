# SPDX-License-Identifier: GPL-2.0-or-later
"""
Runs an emulator and speaks with it.

- ``emulator``: one running emulator, its channels and its end;
- ``qmp``: a QMP client with out-of-band commands;
- ``record``: the files that it leaves behind, if it is told to;
- ``debugger``: an emulator that waits for gdb;
- ``patience``: for how long anything is waited for;
- ``harvest``: age's commands, with accessed bits as sets of page frames;
- ``history``: those of the history, with what was accessed since a number.
"""
