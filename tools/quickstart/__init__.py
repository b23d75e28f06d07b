"""The quickstart: a ZooKeeper, an sshd and a launcher on this machine, and a requestor that plays Zuul."""
