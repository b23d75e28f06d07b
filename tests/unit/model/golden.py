"""Records as Nodepool 11, Zuul and the Jenkins plug-in write them, as literal JSON (spec zookeeper 4, facts zuul)."""

from __future__ import annotations

NODE_READY = """
{"state": "ready", "state_time": 1718000123.41, "cloud": "rdo", "provider": "rdo-1",
 "pool": "main", "type": ["ubuntu-jammy"], "allocated_to": "200-0000031337",
 "az": "nova", "region": null, "public_ipv4": "203.0.113.9",
 "private_ipv4": "10.0.0.9", "public_ipv6": null, "host_id": "9f1e7c",
 "interface_ip": "203.0.113.9", "connection_port": 22, "ssh_port": 22,
 "image_id": "/nodepool/images/ubuntu-jammy/builds/4c8e9f/providers/rdo-1/images/0000000001",
 "launcher": "nl1.example.org-PoolWorker.rdo-1-main-5b0c4d", "created_time": 1718000050.0,
 "external_id": "6a1f00", "hostname": null, "comment": null, "user_data": null,
 "hold_job": null, "host_keys": ["ssh-ed25519 AAAA"], "username": "zuul",
 "connection_type": "ssh", "shell_type": null, "hold_expiration": null,
 "resources": {"cores": 4, "instances": 1, "ram": 8192}, "slot": null,
 "attributes": {"executor-zone": "eu"}, "python_path": "auto",
 "tenant_name": "acme", "driver_data": null, "requestor": "3f9d",
 "node_properties": {}}
"""
"""A node of Nodepool 11 that is ready and allocated; every key that Nodepool writes is there."""

NODE_IN_USE = """
{"state": "in-use", "state_time": 1718000200.7, "cloud": "AWS", "provider": "ec2",
 "pool": "main", "type": ["ubuntu-jammy"], "allocated_to": "200-0000031337",
 "az": "us-east-1a", "region": "us-east-1", "public_ipv4": "203.0.113.9",
 "private_ipv4": "10.0.0.9", "public_ipv6": "", "host_id": null,
 "interface_ip": "203.0.113.9", "connection_port": 5986, "ssh_port": 5986, "image_id": "ami-1",
 "launcher": "nl1.example.org-PoolWorker.ec2-main-5b0c4d", "created_time": 1718000050.0,
 "external_id": {"instance": "i-0a", "host": "h-0b"}, "hostname": null, "comment": null,
 "user_data": {"zuul_system": "3f9d", "project_name": "opendev.org/zuul/nodepool"},
 "hold_job": null, "host_keys": [], "username": "Administrator",
 "connection_type": "winrm", "shell_type": "powershell", "hold_expiration": null,
 "resources": {"cores": 4, "instances": 1, "ram": 8192, "L-1216C47A": 4, "volume-gb": 0.5}, "slot": null,
 "attributes": null, "python_path": "auto", "tenant_name": "acme", "driver_data": null,
 "requestor": "3f9d", "node_properties": {"fleet": false, "spot": true}, "id": "0000004711"}
"""
"""A node of the aws driver as Zuul writes it back: with ``id``, its ``user_data`` and objects of the driver."""

NODE_HELD = """
{"state": "hold", "state_time": 1718000300.0, "cloud": null, "provider": "rack",
 "pool": "main", "type": ["bare", "bare-large"], "allocated_to": "200-0000031337",
 "az": null, "region": null, "public_ipv4": null, "private_ipv4": null, "public_ipv6": null, "host_id": null,
 "interface_ip": "host1.example.org", "connection_port": 22, "ssh_port": 22, "image_id": null,
 "launcher": "static driver", "created_time": 1718000050.0,
 "external_id": "host1.example.org", "hostname": "host1.example.org", "comment": "debugging the unit job",
 "user_data": {"zuul_system": "3f9d", "project_name": "opendev.org/zuul/nodepool"},
 "hold_job": "acme opendev.org/zuul/nodepool unit refs/changes/22/1122/.*",
 "host_keys": ["ssh-ed25519 AAAA", "ssh-rsa BBBB"], "username": "ci",
 "connection_type": "ssh", "shell_type": null, "hold_expiration": 86400,
 "resources": null, "slot": 3, "attributes": null, "python_path": "auto", "tenant_name": "acme",
 "driver_data": null, "requestor": "3f9d", "node_properties": {}, "id": "0000004712"}
"""
"""A static node that Zuul holds."""

NODE_POD = """
{"state": "ready", "state_time": 1718000123.41, "cloud": "context", "provider": "k8s",
 "pool": "main", "type": ["pod"], "allocated_to": "200-0000031337", "az": null, "region": null,
 "public_ipv4": null, "private_ipv4": null, "public_ipv6": null, "host_id": "worker-7",
 "interface_ip": "pod-1",
 "connection_port": {"namespace": "ns-1", "host": "https://k8s.example.org:6443", "skiptls": false,
  "token": "secret", "user": "zuul-worker", "ca_crt": "AAAA", "pod": "pod-1", "name": "ns-1"},
 "ssh_port": {"namespace": "ns-1", "host": "https://k8s.example.org:6443", "skiptls": false,
  "token": "secret", "user": "zuul-worker", "ca_crt": "AAAA", "pod": "pod-1", "name": "ns-1"},
 "image_id": null, "launcher": "nl1.example.org-PoolWorker.k8s-main-5b0c4d", "created_time": 1718000050.0,
 "external_id": "ns-1", "hostname": null, "comment": null, "user_data": null, "hold_job": null,
 "host_keys": [], "username": "zuul-worker", "connection_type": "kubectl", "shell_type": null,
 "hold_expiration": null, "resources": {"instances": 1, "ephemeral-storage": 1024}, "slot": null,
 "attributes": null, "python_path": "auto", "tenant_name": "acme",
 "driver_data": {"metadata": {"nodepool_node_id": "0000004713"}, "backing_node": null, "slot": 1}, "requestor": "3f9d",
 "node_properties": {}}
"""
"""A pod: ``connection_port`` is an object (spec zookeeper 4.1.1)."""

NODE_BACKING = """
{"state": "in-use", "state_time": 1718000123.41, "cloud": "rdo", "provider": "rdo-1",
 "pool": "main", "type": ["backing"], "allocated_to": "100-0000031338", "az": "nova", "region": null,
 "public_ipv4": "203.0.113.9", "private_ipv4": "10.0.0.9", "public_ipv6": null, "host_id": "9f1e7c",
 "interface_ip": "203.0.113.9", "connection_port": null, "ssh_port": null, "image_id": "debian",
 "launcher": "nl1.example.org-PoolWorker.rdo-1-main-5b0c4d", "created_time": 1718000050.0,
 "external_id": "6a1f00", "hostname": null, "comment": null,
 "user_data": "{\\"owner\\": \\"NodePool:metastatic:meta\\", \\"label\\": \\"small\\", \\"slots\\": 4}",
 "hold_job": null, "host_keys": ["ssh-ed25519 AAAA"], "username": null,
 "connection_type": "ssh", "shell_type": null, "hold_expiration": 0,
 "resources": {"cores": 4, "instances": 1, "ram": 8192}, "slot": null, "attributes": {}, "python_path": null,
 "tenant_name": null, "driver_data": null, "requestor": "NodePool:metastatic:meta", "node_properties": null}
"""
"""A node that backs a metastatic pool: ``user_data`` is text, and nulls that must stay null."""

NODE_JENKINS = """
{"state": "in-use", "state_time": 1718000123.0, "provider": "rdo-1", "pool": "main", "type": ["centos"],
 "allocated_to": "500-0000000007", "interface_ip": "203.0.113.9", "connection_port": 22.0, "ssh_port": 22.0,
 "image_id": "centos", "launcher": "nl1.example.org-PoolWorker.rdo-1-main-5b0c4d", "created_time": 1.71800013E9,
 "external_id": "6a1f00", "host_keys": ["ssh-ed25519 AAAA"], "username": "jenkins", "connection_type": "ssh",
 "build_id": "job-42", "hold_expiration": 1718086523000}
"""
"""What is left of a node after the Jenkins plug-in wrote it: its own key set, no nulls, numbers as floats."""

REQUEST_SUBMITTED = """
{"requestor_data": {"build_set_uuid": "5d1c", "tenant_name": "acme",
  "pipeline_name": "check", "job_uuid": "77aa", "job_name": "unit",
  "span_info": {"trace_id": 312312644215438567100414707468360678011, "span_id": 18446744073709551557,
   "trace_flags": 1}},
 "node_types": ["ubuntu-jammy", "ubuntu-jammy"], "requestor": "3f9d",
 "created_time": 1718000040.2, "provider": null, "state": "requested",
 "state_time": 1718000040.1, "relative_priority": 0, "event_id": "c0ff",
 "tenant_name": "acme"}
"""
"""A request exactly as Zuul makes it; ``declined_by``, ``nodes`` and ``reuse`` are absent."""

REQUEST_FULFILLED = """
{"requestor_data": {"build_set_uuid": "5d1c", "tenant_name": "acme",
  "pipeline_name": "check", "job_uuid": "77aa", "job_name": "unit",
  "span_info": {"trace_id": 312312644215438567100414707468360678011, "span_id": 18446744073709551557,
   "trace_flags": 1}},
 "node_types": ["ubuntu-jammy", "ubuntu-jammy"], "requestor": "3f9d",
 "created_time": 1718000040.2, "provider": "rdo-1", "state": "fulfilled",
 "state_time": 1718000123.5, "relative_priority": 3, "event_id": "c0ff",
 "tenant_name": "acme", "declined_by": ["nl2.example.org-PoolWorker.vexx-main-77"], "reuse": true,
 "nodes": ["0000004711", "0000004712"]}
"""
"""The same after Nodepool has served it."""

REQUEST_JENKINS = """
{"node_types": ["centos"], "declined_by": [], "state_time": 1718000040.0, "reuse": true, "requestor": "jenkins",
 "state": "requested", "nodes": [], "jenkins_label": "nodepool-centos", "build_id": "job-42"}
"""
"""A request of the Jenkins plug-in."""

REQUEST_MIN_READY = """
{"requestor_data": null, "node_types": ["ubuntu-jammy"], "requestor": "NodePool:min-ready", "created_time": null,
 "provider": null, "state": "failed", "state_time": 1718000040.1, "relative_priority": 0, "event_id": "0a0b",
 "declined_by": ["nl1.example.org-PoolWorker.rdo-1-main-5b0c4d"], "nodes": [], "reuse": false, "tenant_name": null}
"""
"""A request of Nodepool 11 for its own stock."""

BUILD_READY = """
{"state": "ready", "state_time": 1718003600.5, "builder": "nb1.example.org",
 "builder_id": "0f3a2c1e-8a52-4f0b-9b0e-0c2f5d1e7a11", "formats": "qcow2,raw",
 "username": "zuul", "python_path": "auto", "shell_type": null}
"""
BUILD_BUILDING = """
{"state": "building", "state_time": 1718003000.5, "builder": "nb1.example.org",
 "builder_id": "0f3a2c1e-8a52-4f0b-9b0e-0c2f5d1e7a11",
 "username": null, "python_path": null, "shell_type": "powershell"}
"""
UPLOAD_READY = """
{"state": "ready", "state_time": 1718004000.0,
 "external_id": "b7e4", "external_name": "ubuntu-jammy-1718003700",
 "format": "qcow2", "username": "zuul", "python_path": "auto", "shell_type": null}
"""
UPLOAD_FAILED = """
{"state": "failed", "state_time": 1718004000.0, "external_id": null, "external_name": null,
 "format": "qcow2", "username": null, "python_path": null, "shell_type": null}
"""

POOL = (
    '{"hostname":"nl1","id":"nl1.example.org-PoolWorker.rdo-1-main-5b0c4d","kind":"pool","model_api":0,"name":"main",'
    '"paused":false,"priority":100,"provider_name":"rdo-1","state":"running",'
    '"supported_labels":["ubuntu-jammy","centos-9"],"version":"11.0.0"}'
)
"""Components byte for byte: Nodepool 11 sorts the keys."""
LAUNCHER = '{"hostname":"nl1","kind":"launcher","model_api":0,"state":"running","version":"11.0.0"}'
