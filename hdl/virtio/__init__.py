"""virtio over PCI: registers, notifications, interrupts, life cycle."""
