# e2e: newest
"""Deliveries verified by the Standard Webhooks library and as the original documents it, also while a secret is being
changed. The JavaScript suite does the same with the library's other edition."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from e2b import Sandbox
from standardwebhooks import Webhook, WebhookVerificationError

ENCODED = "whsec_" + base64.b64encode(b"twenty-four bytes, or so").decode()
PLAIN = "a secret that is no base64"


@contextmanager
def receiver():
    """A receiver on loopback, and what it got: headers and body."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((dict(self.headers.items()), body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", received
    finally:
        server.shutdown()
        server.server_close()


def library(secret):
    return Webhook(secret if secret.startswith("whsec_") else secret.encode())


def is_genuine(secret, headers, body):
    try:
        assert library(secret).verify(body, headers) == json.loads(body)
    except WebhookVerificationError:
        return False
    return True


def v1(secret, body):
    return base64.b64encode(hashlib.sha256(secret.encode() + body).digest()).decode().rstrip("=")


@contextmanager
def registered(http, eventually, purpose, secret):
    """A webhook for one sandbox, and what makes something happen to it and returns the delivery of that."""
    with receiver() as (url, received), Sandbox.create("base", metadata={"purpose": purpose}, timeout=300) as sandbox:
        webhook = http.post(
            "/events/webhooks",
            json={
                "name": purpose,
                "url": url,
                "events": ["sandbox.lifecycle.updated"],
                "filter": {"metadata": {"purpose": purpose}},
                "signatureSecret": secret,
            },
        )
        assert webhook.status_code == 201, webhook.text
        path = f"/events/webhooks/{webhook.json()['id']}"

        def after():
            n = len(received)
            sandbox.set_timeout(300)
            eventually("it is delivered", lambda: len(received) > n)
            return received[n]

        try:
            yield path, after
        finally:
            http.delete(path)


@pytest.mark.parametrize("secret", [ENCODED, PLAIN], ids=["encoded", "plain"])
def test_a_delivery(http, eventually, secret):
    with registered(http, eventually, f"python {secret[:5]}", secret) as (_, after):
        headers, body = after()
        assert is_genuine(secret, headers, body)
        assert headers["e2b-signature"] == v1(secret, body)
        again = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()
        assert headers["e2b-signature"] == v1(secret, again)
        assert not is_genuine("another secret", headers, body)
        assert not is_genuine(secret, headers, body.replace(b".updated", b".created"))


def test_while_a_secret_is_being_changed(http, eventually):
    with registered(http, eventually, "python rotation", ENCODED) as (path, after):

        def holds(secret):
            delivery = after()
            return is_genuine(secret, *delivery) and delivery

        drawn = http.post(f"{path}/secret", json={"overlapSeconds": 3600}).json()["signatureSecret"]
        headers, body = eventually("the change holds", lambda: holds(drawn))
        assert is_genuine(ENCODED, headers, body), "the old secret is still good"
        assert headers["e2b-signature"] == v1(drawn, body)
        assert headers["e2b-signature-previous"] == v1(ENCODED, body)
        assert not is_genuine("another secret", headers, body)

        changed = http.post(f"{path}/secret", json={"signatureSecret": PLAIN, "overlapSeconds": 0})
        assert changed.status_code == 200, changed.text
        headers, body = eventually("the change holds", lambda: holds(PLAIN))
        assert not is_genuine(drawn, headers, body) and not is_genuine(ENCODED, headers, body)
        assert "e2b-signature-previous" not in headers
