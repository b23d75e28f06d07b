"""The job of the quickstart, shown step by step: a node from a request to its reuse."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import time
from collections.abc import Iterator

from kazoo.exceptions import KazooException

from tools.quickstart.background import QuickstartError
from tools.quickstart.requestor import Record, Requestor, log_in
from tools.quickstart.site import LABEL, Site, program, shown

START_SECONDS = 60.0
ANSWER_SECONDS = 30.0
NODE_COMMAND = 'echo "$(id -un) on $(hostname), $(uname -sr)"'


class Steps:
    """Prints the steps of a run as they happen, each with the time it took, and keeps the times."""

    def __init__(self) -> None:
        self.seconds: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """One step; what is put into the list is printed below it."""
        print(f"{len(self.seconds) + 1:2}. {title:<68}", end="", flush=True)
        notes: list[str] = []
        began = time.monotonic()
        try:
            yield notes
        except BaseException:
            print("not done", flush=True)
            raise
        seconds = time.monotonic() - began
        self.seconds.append((title, seconds))
        print(f"{seconds * 1000:8.0f} ms", *notes, sep="\n      ", flush=True)

    def summarize(self) -> None:
        """Print all times and their sum."""
        print("\nTimes")
        for title, seconds in self.seconds:
            print(f"    {title:<68}{seconds * 1000:8.0f} ms")
        print(f"    {'together':<68}{sum(seconds for _, seconds in self.seconds) * 1000:8.0f} ms")


def run(site: Site, zookeeper_port: int | None, ssh_port: int | None) -> None:
    """Start what does not run yet, and take one node through its life. Raises :class:`QuickstartError`."""
    logging.getLogger("kazoo").addHandler(logging.NullHandler())
    steps = Steps()
    print(f"Nodepool on this machine, on loopback addresses only, in {shown(site.directory)}\n")
    with steps.step("Start ZooKeeper") as notes:
        notes.append(site.start_zookeeper(zookeeper_port))
    with steps.step("Start sshd: this host becomes a static node") as notes:
        notes.append(site.start_node_server(ssh_port))
    with steps.step("Write the configuration") as notes:
        site.write_configuration()
        notes.append(shown(site.configuration))
    with steps.step("Start nodepool-launcher") as notes:
        notes.append(site.start_launcher())
    try:
        requestor = Requestor(site.zookeeper_hosts, site.system_id, site.launcher.check)
        with contextlib.closing(requestor):
            _wait_until_offered(steps, requestor)
            _take_a_node_through_its_life(steps, requestor, site)
    except KazooException as error:
        raise QuickstartError(f"ZooKeeper: {type(error).__name__} {error}") from error
    with steps.step("List the nodes, as an operator does") as notes:
        notes += _list_nodes(site)
    steps.summarize()


def _wait_until_offered(steps: Steps, requestor: Requestor) -> None:
    with steps.step(f"Wait until a pool offers the label {LABEL!r} and a node is ready") as notes:
        if leftovers := requestor.delete_leftovers():
            notes.append(f"deleted {leftovers} request(s) that an earlier run left behind")
        pool = requestor.wait_for_pool(LABEL, START_SECONDS)
        notes.append(f"pool {pool['provider_name']}-{pool['name']} of {pool['hostname']}, {pool['state']}")
        requestor.wait_for_ready_node(LABEL, START_SECONDS)


def _take_a_node_through_its_life(steps: Steps, requestor: Requestor, site: Site) -> None:
    with steps.step("Ask: write a node request into ZooKeeper, as Zuul does") as notes:
        request_id = requestor.submit(LABEL)
        notes.append(f"request {request_id}")
    with steps.step("Wait until the launcher has fulfilled it") as notes:
        request = requestor.wait_for_answer(request_id, ANSWER_SECONDS)
        node_id = request["nodes"][0]
        notes.append(f"node {node_id}")
    with steps.step("Accept: check the allocation, lock the node, delete the request") as notes:
        node = requestor.accept(request_id, node_id)
        notes.append(f"{node['username']}@{node['interface_ip']} port {node['connection_port']}")
    with steps.step("Set the node in-use"):
        node = requestor.set_in_use(node_id, node)
    with steps.step("Log in, trusting only the recorded host keys, and run a command") as notes:
        notes += _log_in(node, site)
    with steps.step("Give it back: set it used, unlock it"):
        requestor.give_back(node_id, node)
    with steps.step("Wait until the host is a fresh node again") as notes:
        notes.append(f"node {requestor.wait_for_successor(node_id, node, ANSWER_SECONDS)}")


def _log_in(node: Record, site: Site) -> list[str]:
    kinds = ", ".join(key.split()[0] for key in node["host_keys"])
    output = log_in(node, site.node_server.identity, site.known_hosts, NODE_COMMAND)
    return [f"host keys: {kinds}", f"the node says: {output}"]


def _list_nodes(site: Site) -> list[str]:
    command = [str(program("nodepool")), "-c", str(site.configuration), "list"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode:
        raise QuickstartError(f"nodepool list failed (exit code {result.returncode}): {result.stderr.strip()}")
    lines: list[str] = result.stdout.splitlines()
    return lines
