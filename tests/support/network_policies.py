"""What NetworkPolicies mean: may this endpoint open a connection to that one? As a network plugin reads them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from support.manifests import Object, selects


@dataclass(frozen=True)
class Endpoint:
    """A pod, or an address outside of the cluster where it has no namespace."""

    name: str
    namespace: str | None
    labels: dict[str, str] = field(default_factory=dict)
    address: str = "10.1.2.3"


def allows(policies: Sequence[Object], source: Endpoint, target: Endpoint, port: int, protocol: str = "TCP") -> bool:
    """Both have to agree: the policies of the source's pod, and those of the target's. A pod that none selects agrees to everything."""
    return _one_side(policies, "Egress", source, target, port, protocol) and _one_side(policies, "Ingress", target, source, port, protocol)


def _one_side(policies: Sequence[Object], direction: str, own: Endpoint, other: Endpoint, port: int, protocol: str) -> bool:
    ours = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == own.namespace
        and direction in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], own.labels)
    ]
    rules = [(policy, rule) for policy in ours for rule in policy["spec"].get(direction.lower()) or ()]
    return not ours or any(_fits(policy, rule, direction, other, port, protocol) for policy, rule in rules)


def _fits(policy: Object, rule: Object, direction: str, other: Endpoint, port: int, protocol: str) -> bool:
    peers, ports = rule.get("to" if direction == "Egress" else "from"), rule.get("ports")
    if ports and not any(one["port"] == port and one.get("protocol", "TCP") == protocol for one in ports):
        return False
    return not peers or any(_is(policy, peer, other) for peer in peers)


def _is(policy: Object, peer: Object, other: Endpoint) -> bool:
    if block := peer.get("ipBlock"):
        address = ip_address(other.address)
        return address in ip_network(block["cidr"]) and not any(address in ip_network(hole) for hole in block.get("except", ()))
    if other.namespace is None:
        return False
    if "namespaceSelector" in peer:
        namespace = selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
    else:
        namespace = other.namespace == policy["metadata"]["namespace"]
    return namespace and selects(peer.get("podSelector", {}), other.labels)
