"""The driver contract, the shared cloud layer, and one folder per driver."""
