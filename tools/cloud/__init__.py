"""A simulated OpenStack cloud for tests and benchmarks: Keystone, Nova, Neutron, Glance and Cinder for a real client.

One process, one event loop, all state in memory, every fault on demand and from a seed. Never for production: it checks
credentials, nothing else.

* ``python -m tools.cloud --config FILE --clouds-yaml FILE`` runs it. Settings, all optional, are YAML::

    seed: 1
    region:                                  # what all regions have in common
      latency: {compute.server.create: [0.1, 0.4], "*": 0.02}
      boot: {median: 5, p99: 60}
      quota: {instances: 50}
      networks: [{name: provider, cidr: 127.9.0.0/16, external: true, shared: true}]
      rate_limits: [{calls: ["compute.*"], rate: 10, burst: 20}]
      faults:
        calls: [{calls: [compute.server.create], fault: error-after, chance: 0.05}]
        servers: [{fault: no-valid-host, zones: [az1]}, {fault: stuck-delete, chance: 0.01}]
    regions:
      east: {}
      west: {quota: {instances: 10}}

  See :mod:`tools.cloud.settings` for all keys and :mod:`tools.cloud.faults` for all faults. A call is named by service,
  resource and verb; the accounting shows the names of those that were made.
* :class:`tools.cloud.process.CloudProcess` runs it as a child that dies with its parent.
* :class:`tools.cloud.client.CloudControl` changes it while it runs, and reads what has happened.
* :class:`tools.cloud.api.Api` answers requests without a socket, on a clock that the caller moves.
"""
