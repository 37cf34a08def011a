"""The card: Amaranth RTL."""
