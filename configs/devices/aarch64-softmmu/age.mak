# SPDX-License-Identifier: GPL-2.0-or-later
#
# The arm64 emulator of this project: its boards. Everything else is off: see
# the common list.

include ../common/age.mak

# Boards
CONFIG_ARM_VIRT=y
CONFIG_SBSA_REF=y
