"""The job of the quickstart, shown step by step: a node from a request to what comes after it."""

from __future__ import annotations

import contextlib
import logging
import os

from kazoo.exceptions import KazooException

from tools.quickstart.background import QuickstartError, run_nodepool, shown
from tools.quickstart.requestor import Record, Requestor, log_in
from tools.quickstart.site import Site
from tools.quickstart.source import LABEL, NodeSource
from tools.quickstart.steps import INDENT, Steps

OFFER_SECONDS = 60.0
PREPARED = "QUICKSTART_PREPARED"
"""Variable that says how many seconds the installation of packages took before."""
NODE_COMMAND = 'echo "$(id -un) on $(hostname), $(uname -sr)"'


def run(site: Site, source: NodeSource, zookeeper_port: int | None) -> None:
    """Start what does not run yet, and take one node through its life. Raises :class:`QuickstartError`."""
    logging.getLogger("kazoo").addHandler(logging.NullHandler())
    steps = Steps(float(os.environ.get(PREPARED, "0")))
    print(f"Nodepool on this machine, on loopback addresses only, in {shown(site.directory)}\n", flush=True)
    if remarks := source.check():
        print(*(f"{INDENT}{remark}" for remark in remarks), "", sep="\n")
    with steps.step("Start ZooKeeper") as step:
        step.notes.append(site.start_zookeeper(zookeeper_port))
    source.start(steps)
    with steps.step("Write the configuration") as step:
        site.write_configuration(source.configuration())
        step.notes.append(shown(site.configuration))
    try:
        requestor = Requestor(site.zookeeper_hosts, site.system_id, lambda: _check(site, source))
        with contextlib.closing(requestor):
            source.complete(steps, requestor, site.configuration)
            with steps.step("Start nodepool-launcher") as step:
                step.notes.append(site.start_launcher())
            _wait_until_offered(steps, requestor, source)
            _take_a_node_through_its_life(steps, requestor, site, source)
    except KazooException as error:
        raise QuickstartError(f"ZooKeeper: {type(error).__name__} {error}") from error
    with steps.step("List the nodes, as an operator does") as step:
        step.notes += run_nodepool(site.configuration, "list")
    steps.summarize()


def stop(site: Site, source: NodeSource) -> list[str]:
    """End what runs, the launcher first, and return the names of what ended."""
    ended = site.stop_launcher()
    machines = source.end()
    if machines and site.zookeeper_runs:
        # Their records would be taken for nodes that can be used.
        with contextlib.closing(Requestor(site.zookeeper_hosts, site.system_id, lambda: None)) as requestor:
            requestor.condemn_nodes()
    return [*ended, *machines, *site.stop_zookeeper()]


def _check(site: Site, source: NodeSource) -> None:
    """Raise if a program has ended that was started."""
    for one in (*source.programs, site.launcher):
        if one.was_started:
            one.check()


def _wait_until_offered(steps: Steps, requestor: Requestor, source: NodeSource) -> None:
    with steps.step(f"Wait until a pool offers the label {LABEL!r}, and a node is ready") as step:
        if leftovers := requestor.delete_leftovers():
            step.notes.append(f"deleted {leftovers} request(s) that an earlier run left behind")
        pool = requestor.wait_for_pool(LABEL, OFFER_SECONDS)
        step.notes.append(f"pool {pool['provider_name']}-{pool['name']} of {pool['hostname']}, {pool['state']}")
        requestor.wait_for_ready_node(LABEL, source.patience, lambda: source.show_start(step))


def _take_a_node_through_its_life(steps: Steps, requestor: Requestor, site: Site, source: NodeSource) -> None:
    with steps.step("Ask: write a node request into ZooKeeper, as Zuul does") as step:
        request_id = requestor.submit(LABEL)
        step.notes.append(f"request {request_id}")
    with steps.step("Wait until the launcher has fulfilled it") as step:
        request = requestor.wait_for_answer(request_id, source.patience)
        node_id = request["nodes"][0]
        step.notes.append(f"node {node_id}")
    with steps.step("Accept: check the allocation, lock the node, delete the request") as step:
        node = requestor.accept(request_id, node_id)
        step.notes.append(f"{node['username']}@{node['interface_ip']} port {node['connection_port']}")
    with steps.step("Set the node in-use"):
        node = requestor.set_in_use(node_id, node)
    with steps.step("Log in, trusting only the recorded host keys, and run a command") as step:
        step.notes += _log_in(node, site, source)
    with steps.step("Give it back: set it used, unlock it"):
        requestor.give_back(node_id, node)
    source.show_next(steps, requestor, node_id, node)


def _log_in(node: Record, site: Site, source: NodeSource) -> list[str]:
    kinds = ", ".join(key.split()[0] for key in node["host_keys"])
    try:
        output = log_in(node, source.identity, site.known_hosts, NODE_COMMAND)
    except QuickstartError as error:
        raise QuickstartError(f"{error} (logs: {', '.join(shown(one.log) for one in source.programs)})") from None
    return [f"host keys: {kinds}", f"the node says: {output}"]
