"""Mints connection tokens without the server's help, good and bad ones."""

import base64
import hashlib
import hmac
import json
import time


def token(secret, algorithm="HS256", **claims):
    """A JWT; its times are relative to now: `exp=-60` has expired a minute ago."""
    now = int(time.time())
    for name in ("exp", "nbf", "iat"):
        if name in claims:
            claims[name] += now
    signed = b".".join(part({"alg": algorithm, "typ": "JWT"}, claims))
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(algorithm)
    signature = hmac.new(secret.encode(), signed, digest).digest() if digest else b""
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def part(*values):
    return [base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=") for value in values]
