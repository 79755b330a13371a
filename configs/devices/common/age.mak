# SPDX-License-Identifier: GPL-2.0-or-later
#
# What both emulators of this project have beside their boards. Enough for
# stock Linux kernels, for the firmware that distributions ship and for tests
# that drive devices, and small enough to build in minutes on two cores.

# Buses
CONFIG_PCI_BRIDGE=y
CONFIG_PCIE_PORT=y
CONFIG_PCIE_PCI_BRIDGE=y
CONFIG_XIO3130=y
CONFIG_IOH3420=y

# virtio
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_MMIO=y
CONFIG_VIRTIO_9P=y
CONFIG_VIRTIO_BALLOON=y
CONFIG_VIRTIO_BLK=y
CONFIG_VIRTIO_INPUT=y
CONFIG_VIRTIO_IOMMU=y
CONFIG_VIRTIO_MEM=y
CONFIG_VIRTIO_NET=y
CONFIG_VIRTIO_RNG=y
CONFIG_VIRTIO_SCSI=y
CONFIG_VIRTIO_SERIAL=y

# Memory that comes and goes
CONFIG_NVDIMM=y
# What the tables of ACPI need from QEMU 10.2 on, and do not select; 10.0 has it
# as well, so that the devices are the same
CONFIG_PXB=y
CONFIG_CXL=y
CONFIG_CXL_MEM_DEVICE=y

# Disks
CONFIG_AHCI_ICH9=y
CONFIG_NVME_PCI=y
# What NVMe needs from QEMU 10.2 on, and does not select
CONFIG_SPDM_SOCKET=y

# Network
CONFIG_E1000_PCI=y
CONFIG_E1000E_PCI_EXPRESS=y

# USB
CONFIG_USB_EHCI_PCI=y
CONFIG_USB_XHCI_PCI=y
CONFIG_USB_HID=y
CONFIG_USB_HUB=y
CONFIG_USB_STORAGE_BOT=y
CONFIG_USB_STORAGE_CLASSIC=y
CONFIG_USB_STORAGE_UAS=y

# Displays
CONFIG_BOCHS_DISPLAY=y
CONFIG_VGA_PCI=y

# Serial ports, signals to the host, a watchdog, devices for tests
CONFIG_AGE_DEVICE=y
CONFIG_EDU=y
CONFIG_GENERIC_LOADER=y
CONFIG_PCI_TESTDEV=y
CONFIG_PVPANIC_PCI=y
CONFIG_SERIAL_PCI=y
CONFIG_WDT_IB6300ESB=y
