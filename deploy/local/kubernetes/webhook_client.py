"""Calls admission webhooks over HTTPS the way kube-apiserver does: caBundle, server name, timeout."""

import base64
import binascii
import ssl
from collections.abc import Mapping

import httpx2
import msgspec

from deploy.local.kubernetes.errors import Json
from deploy.local.kubernetes.requests import WebhookCall, WebhookFailure


class WebhookClient:
    """Makes the calls. `services` maps "namespace/name" to "host:port" on this machine."""

    def __init__(self, services: Mapping[str, str]) -> None:
        self._services = services
        self._clients: dict[str, httpx2.AsyncClient] = {}

    async def call(self, call: WebhookCall) -> Json | WebhookFailure:
        """The AdmissionReview that came back, or why none did."""
        try:
            url, name = self._address(call.client_config)
            client = self._client(str(call.client_config.get("caBundle") or ""))
            response = await client.post(
                url,
                params={"timeout": f"{call.timeout_seconds}s"},
                content=msgspec.json.encode(call.review),
                headers={"Content-Type": "application/json", "Host": name},
                timeout=call.timeout_seconds,
                extensions={"sni_hostname": name.split(":", 1)[0]},
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, ssl.SSLError, OSError) as error:
            return WebhookFailure(f"failed to call webhook: {type(error).__name__}: {error}")
        if response.status_code != 200:
            text = response.text[:200]
            return WebhookFailure(f"an error on the server (HTTP {response.status_code}): {text}")
        try:
            review = msgspec.json.decode(response.content)
        except msgspec.DecodeError as error:
            return WebhookFailure(f"the answer is not JSON: {error}")
        return review if isinstance(review, dict) else WebhookFailure("the answer is no object")

    def _address(self, config: Json) -> tuple[str, str]:
        """Where to connect, and the name the certificate must carry."""
        if config.get("url"):
            url = httpx2.URL(config["url"])
            if url.scheme != "https":
                raise ValueError(f"webhook url {config['url']} must start with https://")
            return str(url), url.netloc.decode()
        service = config.get("service") or {}
        key = f"{service.get('namespace')}/{service.get('name')}"
        target = self._services.get(key)
        if target is None:
            raise ValueError(
                f'service "{key}" has no address here: start the server with --service {key}=HOST:PORT'
            )
        path = service.get("path") or "/"
        return f"https://{target}{path}", f"{service['name']}.{service['namespace']}.svc"

    def _client(self, ca_bundle: str) -> httpx2.AsyncClient:
        if ca_bundle not in self._clients:
            context = ssl.create_default_context()
            if ca_bundle:
                try:
                    pem = base64.b64decode(ca_bundle).decode("ascii")
                except (binascii.Error, UnicodeDecodeError) as error:
                    raise ValueError(f"caBundle is not base64 of PEM: {error}") from error
                context = ssl.create_default_context(cadata=pem)
            self._clients[ca_bundle] = httpx2.AsyncClient(verify=context, trust_env=False)
        return self._clients[ca_bundle]

    async def close(self) -> None:
        """Closes all connections."""
        for client in self._clients.values():
            await client.aclose()
