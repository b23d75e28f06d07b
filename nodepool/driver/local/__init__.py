"""The local driver: real throw-away machines on this host, with no cloud and no account."""
