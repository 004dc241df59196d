"""Every connection that is needed is allowed, and every other one is refused: all pairs of endpoints, on all ports in use."""

from collections.abc import Callable

import pytest
from support.manifests import OVERLAYS, Object, find, objects_of, of_kind, pods_of
from support.network_policies import Endpoint, allows

from admitone.config import SERVICES_WITH_A_DATABASE
from admitone.services import SERVICES

ALL = tuple(service.name for service in SERVICES)
ROUTED = tuple(service.name for service in SERVICES if service.routes)
PORTS = (53, 443, 4222, 5432, 6222, 6443, 8000, 8089, 8222, 9000, 9187)
OUTSIDE = (
    Endpoint("ingress", "ingress-nginx"),
    Endpoint("gateway", "envoy-gateway-system"),
    Endpoint("prometheus", "monitoring"),
    Endpoint("operator", "cnpg-system", {"app.kubernetes.io/name": "cloudnative-pg"}),
    Endpoint("dns", "kube-system", {"k8s-app": "kube-dns"}),
    Endpoint("stranger", "default", {"app.kubernetes.io/name": "web", "app.kubernetes.io/component": "service"}),
    Endpoint("internet", None, address="203.0.113.7"),
    Endpoint("API server", None, address="10.96.0.1"),
)
WAY_IN = {"dev": "ingress", "staging": "ingress", "production": "gateway"}


def needed(overlay: str, inside: list[str]) -> set[tuple[str, str, int]]:
    """Who has to reach whom, and where."""
    table = {
        *((service, "postgres", 5432) for service in SERVICES_WITH_A_DATABASE),
        *((f"migrate-{service}", "postgres", 5432) for service in SERVICES_WITH_A_DATABASE),
        *((service, "nats", 4222) for service in ALL),
        *(("web", service, 8000) for service in ROUTED if service != "web"),
        *((WAY_IN[overlay], service, 8000) for service in ROUTED),
        *((name, "dns", 53) for name in inside),
        ("nats", "nats", 6222),
        *((source, "postgres", port) for source in ("postgres", "operator") for port in (5432, 8000)),
        # No label names the API server, so the instances may reach everything outside by https.
        *(("postgres", endpoint.name, port) for endpoint in OUTSIDE for port in (443, 6443)),
    }
    if overlay == "production":
        table |= {("payments", "internet", 443)}
    else:
        table |= {("payments", "payments", 8000)}  # Webhooks of the test processor.
    if overlay != "dev":
        table |= {("prometheus", service, 9000) for service in ALL} | {
            ("prometheus", "postgres", 9187),
            (WAY_IN[overlay], "certificates", 8089),
        }
    return table


def surprises(overlay: str, objects: list[Object]) -> list[str]:
    """Connections that are refused though they are needed, and those that are allowed though they are not."""
    policies = list(of_kind(objects, "NetworkPolicy"))
    namespace = next(of_kind(objects, "Namespace"))["metadata"]["name"]
    inside = [Endpoint(pod.name, namespace, pod.labels) for pod in pods_of(objects)]
    inside.append(Endpoint("certificates", namespace, {"acme.cert-manager.io/http01-solver": "true"}))
    inside.append(Endpoint("a pod without labels", namespace))
    table = needed(overlay, [endpoint.name for endpoint in inside])
    found = []
    everybody = (*inside, *OUTSIDE)
    for source in everybody:
        for target in everybody:
            if source not in inside and target not in inside:
                continue
            for port in PORTS:
                may, must = allows(policies, source, target, port), (source.name, target.name, port) in table
                if may != must:
                    found.append(f"{source.name} {'may' if may else 'can not'} reach {target.name}:{port}")
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_exactly_the_needed_connections_are_allowed(overlay: str) -> None:
    assert surprises(overlay, objects_of(overlay)) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_resolved_over_udp(overlay: str) -> None:
    objects = objects_of(overlay)
    namespace = next(of_kind(objects, "Namespace"))["metadata"]["name"]
    dns = next(endpoint for endpoint in OUTSIDE if endpoint.name == "dns")
    for pod in pods_of(objects):
        assert allows(list(of_kind(objects, "NetworkPolicy")), Endpoint(pod.name, namespace, pod.labels), dns, 53, "UDP")


def without(name: str) -> Callable[[list[Object]], None]:
    return lambda objects: objects.remove(find(objects, "NetworkPolicy", name))


def opened(objects: list[Object]) -> None:
    """The namespace of the way in reaches all ports."""
    del find(objects, "NetworkPolicy", "services-from-ingress")["spec"]["ingress"][0]["ports"]


def anybodys(objects: list[Object]) -> None:
    """Pods of these labels in all namespaces."""
    find(objects, "NetworkPolicy", "services-from-web")["spec"]["ingress"][0]["from"][0]["namespaceSelector"] = {}


def misspelt(objects: list[Object]) -> None:
    find(objects, "NetworkPolicy", "services-to-nats")["spec"]["podSelector"]["matchLabels"] = {"app.kubernetes.io/component": "servce"}


def another_service(objects: list[Object]) -> None:
    find(objects, "NetworkPolicy", "web-to-services")["spec"]["egress"][0]["to"][0]["podSelector"]["matchExpressions"][0]["values"] += [
        "web"
    ]
    find(objects, "NetworkPolicy", "services-from-web")["spec"]["podSelector"]["matchExpressions"][0]["values"] += ["web"]


@pytest.mark.parametrize(
    ("change", "surprise"),
    [
        (without("default-deny"), "internet may reach a pod without labels:443"),
        (without("dns"), "orders can not reach dns:53"),
        (without("payments-to-itself"), "payments can not reach payments:8000"),
        (opened, "ingress may reach orders:9000"),
        (anybodys, "stranger may reach orders:8000"),
        (misspelt, "web can not reach nats:4222"),
        (another_service, "web may reach web:8000"),
    ],
)
def test_a_mistake_in_a_policy_is_found(change: Callable[[list[Object]], None], surprise: str) -> None:
    objects = objects_of("staging")
    change(objects)
    assert surprise in surprises("staging", objects)
