"""Put objects into an S3 server: signature version 4 by the standard library, apart from the program's own."""

import datetime
import hashlib
import hmac
import http.client
import time
import urllib.parse


def request(method, server, key, secret, path, body=b"", query="", service="s3", region="us-east-1", headers=None,
            with_headers=False):
    """Send a signed request; `path` is raw. Returns (status, body), or (status, headers) with `with_headers`."""
    parts = urllib.parse.urlsplit(server)
    encoded = urllib.parse.quote(path, safe="/-._~")
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    signed = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": now, **(headers or {})}
    names = ";".join(sorted(signed))
    canonical = "\n".join([method, encoded, query, *(f"{n}:{signed[n]}" for n in sorted(signed)), "", names, digest])
    scope = f"{now[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing = ("AWS4" + secret).encode()
    for part in (now[:8], region, service, "aws4_request"):
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
    signed["authorization"] = (f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, "
                               f"Signature={signature}")
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request(method, encoded + ("?" + query if query else ""), body, signed)
    try:
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
        return answer.status, ({name.lower(): value for name, value in answer.getheaders()} if with_headers else body)
    finally:
        connection.close()


def put(server, key, secret, path, body=b"", seconds=30):
    """Put an object; a server that has just started may say 503 for a while."""
    deadline = time.monotonic() + seconds
    status, text = request("PUT", server, key, secret, path, body)
    while status == 503 and time.monotonic() < deadline:
        time.sleep(0.2)
        status, text = request("PUT", server, key, secret, path, body)
    if status != 200:
        raise RuntimeError(f"PUT {path}: status {status}: {text}")
