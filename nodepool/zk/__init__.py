"""The only room that knows kazoo: session, paths, locks, fenced transactions, feeds and mirrors."""
