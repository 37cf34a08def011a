"""Register kit: maps of fixed-offset fields with byte enables."""
