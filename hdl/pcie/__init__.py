"""PCI Express transaction layer of the function."""
