# SPDX-License-Identifier: GPL-2.0-or-later
#
# The x86-64 emulator of this project: its boards, and the devices that only
# they have. Everything else is off: see the common list.

include ../common/age.mak

# Boards
CONFIG_I440FX=y
CONFIG_Q35=y
CONFIG_MICROVM=y

# What a PC is expected to have
CONFIG_ACPI_VMGENID=y
CONFIG_FDC_ISA=y
CONFIG_HPET=y
CONFIG_I82801B11=y
CONFIG_USB_UHCI=y
CONFIG_VIRTIO_PMEM=y
CONFIG_VTD=y

# Devices for tests
CONFIG_ISA_DEBUG=y
CONFIG_ISA_TESTDEV=y
CONFIG_PVPANIC_ISA=y
