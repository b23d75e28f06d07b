"""Which services Keystone's catalogue offers to a cloud's entry of clouds.yaml, and why one is missing."""

from __future__ import annotations

from openstack.config.cloud_region import CloudRegion

from nodepool.driver.openstack.suggestions import there_are


def missing(config: CloudRegion, service: str) -> str | None:
    """Why a service cannot be found, None if it can. Exchanges nothing once there is a token.

    Raises what openstacksdk and keystoneauth raise.

    :param service: type of the service, such as ``compute``
    """
    if not config.has_service(service):
        return f"clouds.yaml says has_{service}: false"
    if config.get_endpoint(service):
        return None
    catalog = config.get_service_catalog()
    if catalog is None:
        return None
    kind, region = config.get_service_type(service), config.get_region_name(service)
    interface = config.get_interface(service)
    if any(catalog.get_endpoints_data(kind, interface, region, config.get_service_name(service)).values()):
        return None
    services = catalog.normalize_catalog()
    if not services:
        return "Keystone offers no services at all: do the credentials lack a project (auth.project_name)?"
    there = [endpoint for found in catalog.get_endpoints_data(kind).values() for endpoint in found]
    if not there:
        return (
            f"Keystone's catalogue has no service '{kind}'; {there_are(str(kind), (one['type'] for one in services))}"
        )
    regions = {str(endpoint.region_name) for endpoint in there}
    if region and region not in regions:
        return f"the service '{kind}' is not in region '{region}' (region_name); {there_are(region, regions)}"
    kinds = {str(endpoint.interface) for endpoint in there}
    return f"the service '{kind}' has no endpoint of interface '{interface}'; {there_are(str(interface), kinds)}"
