"""An identity provider of the tests' own: private keys made by openssl, tokens signed with them, and a web server for the key set
that also does everything wrong."""

import base64
import json
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tokens import part

# Nothing here answers for longer.
SLOW_SECONDS = 20


def openssl(*arguments, given=None):
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True, timeout=20).stdout


class Key:
    """An RSA key with a name."""

    def __init__(self, folder, kid):
        self.kid, self.path = kid, str(folder / f"{kid}.pem")
        openssl("genrsa", "-out", self.path, "2048")
        modulus = openssl("rsa", "-in", self.path, "-noout", "-modulus").decode().strip().removeprefix("Modulus=")
        self.jwk = {"kty": "RSA", "kid": kid, "use": "sig", "e": "AQAB", "n": encoded(bytes.fromhex(modulus))}

    def token(self, **claims):
        text = b".".join(part({"alg": "RS256", "kid": self.kid}, claims))
        return text.decode() + "." + encoded(openssl("dgst", "-sha256", "-sign", self.path, given=text))


def nonsense(kid):
    """A token whose key nobody has."""
    return b".".join(part({"alg": "RS256", "kid": kid}, {"sub": "nobody"})).decode() + "." + encoded(b"x" * 256)


def encoded(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


class KeyServer:
    """Serves the keys in `keys` at /keys; `fault`, if set, answers instead: a function of the request's handler."""

    def __init__(self, *keys, certificate=None, port=0):
        self.keys, self.fault, self.asked = list(keys), None, []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.asked.append(self.path)
                if owner.fault:
                    owner.fault(self)
                else:
                    answer(self, 200, json.dumps({"keys": [key.jwk for key in owner.keys]}).encode())

            def log_message(self, *_):
                pass

        class Web(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_):
                """Whoever asked has gone."""

        self.server = Web(("127.0.0.1", port), Handler)
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
            self.scheme = "https"
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}/keys"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def answer(handler, status, body=b"", **headers):
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def redirect(target):
    return lambda handler: answer(handler, 302, Location=target)


def too_long(handler):
    """A body that says that it is short and has no end in sight."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(64):
        handler.wfile.write(b'{"keys": [' + b" " * (1 << 20))


def long_head(handler):
    answer(handler, 200, b"{}", **{"X-Filler": "x" * (40 << 10)})


def slow(handler):
    """An octet now and then: each read has something to read."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    end = time.monotonic() + SLOW_SECONDS
    while time.monotonic() < end:
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def silent(handler):
    """Nothing at all."""
    time.sleep(SLOW_SECONDS)


def cut(handler):
    """Less than was said."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"keys": []')


def no_http(handler):
    handler.wfile.write(b"\x00\x01\x02 what is this\r\n\r\n")


def body(content):
    return lambda handler: answer(handler, 200, content)
