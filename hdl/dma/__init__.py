"""DMA: memory to byte stream and byte stream to memory, many clients on one engine."""
