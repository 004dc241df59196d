"""An nginx that does what an Ingress says: its hosts, paths and backends, TLS, and a password where the annotations ask for one."""

import getpass
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from support.manifests import Object, containers_of, find, of_kind, selects

from admitone.runtime.programs import free_port

ANNOTATION = "nginx.ingress.kubernetes.io/auth-"
CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; user {user}; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
    scgi_temp_path {folder}/s;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;
    ssl_certificate {folder}/tls.crt; ssl_certificate_key {folder}/tls.key;
    server {{ listen 127.0.0.1:{port} ssl default_server; return 404; }}
{servers}
}}
"""


class Ingress:
    def __init__(self, folder: Path, objects: Sequence[Object], secrets: Path, addresses: Mapping[str, str]) -> None:
        (self.ingress,) = of_kind(objects, "Ingress")
        self.folder = folder
        self.objects = objects
        self.secrets = secrets
        self.addresses = addresses
        self.port = free_port()
        self.host: str = self.ingress["spec"]["rules"][0]["host"]

    def client(self, team: tuple[str, str] | None = None) -> httpx.AsyncClient:
        """A browser in whose world the host is here, and whoever signed the certificate is trusted."""
        transport = _Here(self.port, ssl.create_default_context(cafile=str(self.folder / "tls.crt")))
        return httpx.AsyncClient(base_url=f"https://{self.host}", transport=transport, timeout=15, auth=team)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._make_certificate()
        file = self.folder / "nginx.conf"
        servers = "".join(self._server(rule) for rule in self.ingress["spec"]["rules"])
        file.write_text(CONFIG.format(folder=self.folder, user=getpass.getuser(), port=self.port, servers=servers))
        process = subprocess.Popen(["nginx", "-p", self.folder, "-c", file], stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    def _make_certificate(self) -> None:
        """For the hosts of `tls`, signed by itself."""
        hosts = [host for tls in self.ingress["spec"]["tls"] for host in tls["hosts"]]
        options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={hosts[0]}"]
        names = ["-addext", "subjectAltName=" + ",".join(f"DNS:{host}" for host in hosts)]
        files = ["-keyout", str(self.folder / "tls.key"), "-out", str(self.folder / "tls.crt")]
        subprocess.run(["openssl", "req", *options, *names, *files], check=True, capture_output=True)

    def _server(self, rule: Object) -> str:
        locations = "".join(self._location(path) for path in rule["http"]["paths"])
        return f"    server {{ listen 127.0.0.1:{self.port} ssl; server_name {rule['host']}; {self._password()}\n{locations}    }}\n"

    def _password(self) -> str:
        annotations = self.ingress["metadata"].get("annotations", {})
        said = {key.removeprefix(ANNOTATION): value for key, value in annotations.items() if key.startswith(ANNOTATION)}
        if "type" not in said:
            return ""
        assert said["type"] == "basic"
        return f'auth_basic "{said["realm"]}"; auth_basic_user_file {self.secrets / said["secret"] / "auth"};'

    def _location(self, path: Object) -> str:
        """Of type Prefix: the path itself and what is below it, element by element."""
        assert path["pathType"] == "Prefix"
        to = f"{{ proxy_pass http://{self._backend(path['backend']['service'])}; proxy_buffering off; }}"
        below = path["path"].rstrip("/")
        exactly = f"        location = {below} {to}\n" if below else ""
        return f"{exactly}        location {below}/ {to}\n"

    def _backend(self, wanted: Object) -> str:
        """Address and port of the pod that the Service selects."""
        service = find(self.objects, "Service", wanted["name"])["spec"]
        target = next(port["targetPort"] for port in service["ports"] if port["name"] == wanted["port"]["name"])
        (pod,) = (
            one
            for one in of_kind(self.objects, "Deployment")
            if selects({"matchLabels": service["selector"]}, one["spec"]["template"]["metadata"]["labels"])
        )
        return f"{self.addresses[pod['metadata']['name']]}:{port_of(pod, target)}"


def port_of(workload: Object, name: str) -> int:
    (container,) = containers_of(workload)
    return next(int(port["containerPort"]) for port in container["ports"] if port["name"] == name)


class _Here(httpx.AsyncHTTPTransport):
    """Connects to this machine, whatever the host; the certificate has to be the host's."""

    def __init__(self, port: int, trusted: ssl.SSLContext) -> None:
        super().__init__(verify=trusted)
        self.port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        here = httpx.Request(
            request.method,
            request.url.copy_with(host="127.0.0.1", port=self.port),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )
        return await super().handle_async_request(here)
