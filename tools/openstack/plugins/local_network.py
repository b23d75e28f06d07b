"""Plug-ins of Neutron for a cloud whose network has no agents: what they would report is taken for granted.

``tools/openstack.sh`` copies this file into Neutron's virtual environment; nothing of Nodepool imports it.
"""

from __future__ import annotations

from typing import Any

from neutron.services.l3_router import l3_router_plugin
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api
from sqlalchemy import orm

VM_HOST = "vm-host"


class LocalMechanismDriver(api.MechanismDriver):
    """Binds every port at once, on whatever host."""

    def initialize(self) -> None:
        """Nothing is needed."""

    @property
    def connectivity(self) -> Any:
        """What the ports carry."""
        return portbindings.CONNECTIVITY_L2

    def bind_port(self, context: Any) -> None:
        """Bind a port to its first segment; on the host of real virtual machines as a tap device."""
        real = context.host == VM_HOST
        for segment in context.segments_to_bind[:1]:
            context.set_binding(
                segment[api.ID],
                portbindings.VIF_TYPE_TAP if real else portbindings.VIF_TYPE_OVS,
                {portbindings.CAP_PORT_FILTER: not real},
                status=constants.PORT_STATUS_ACTIVE,
            )


class LocalRouterPlugin(l3_router_plugin.L3RouterPlugin):
    """Routers whose floating addresses are ACTIVE when they lead somewhere, and DOWN when not."""

    def __init__(self) -> None:
        super().__init__()
        # SQLAlchemy completes some attributes of the models with the first query, which is too late for a threaded
        # server whose first requests include a list of ports.
        orm.configure_mappers()

    def create_floatingip(self, context: Any, floatingip: Any) -> Any:
        """Make one, and say at once that it works."""
        return self._settle(context, super().create_floatingip(context, floatingip))

    def update_floatingip(self, context: Any, id: str, floatingip: Any) -> Any:
        """Let one lead elsewhere or nowhere."""
        return self._settle(context, super().update_floatingip(context, id, floatingip))

    def disassociate_floatingips(self, context: Any, port_id: str, *args: Any, **options: Any) -> Any:
        """Let all of a port lead nowhere: the port is being deleted."""
        admin = context.elevated()
        loose = self.get_floatingips(admin, filters={"port_id": [port_id]})
        result = super().disassociate_floatingips(context, port_id, *args, **options)
        for address in loose:
            self.update_floatingip_status(admin, address["id"], constants.FLOATINGIP_STATUS_DOWN)
        return result

    def _settle(self, context: Any, address: Any) -> Any:
        status = constants.FLOATINGIP_STATUS_ACTIVE if address["port_id"] else constants.FLOATINGIP_STATUS_DOWN
        if address["status"] != status:
            self.update_floatingip_status(context.elevated(), address["id"], status)
            address["status"] = status
        return address
