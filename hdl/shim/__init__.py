"""Shells around the card: flat ports for simulators and FPGA flows."""
