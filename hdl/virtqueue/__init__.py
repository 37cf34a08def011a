"""The packed virtqueue engine, one per direction."""
