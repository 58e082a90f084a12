"""Put objects into an S3 server: signature version 4 by the standard library, apart from the program's own."""

import datetime
import hashlib
import hmac
import http.client
import urllib.parse


def request(method, server, key, secret, path, body=b"", query="", service="s3", region="us-east-1", headers=None,
            with_headers=False):
    """Send a signed request; `path` is raw. Returns (status, body), or (status, headers) with `with_headers`."""
    parts = urllib.parse.urlsplit(server)
    encoded = urllib.parse.quote(path, safe="/-._~")
    time = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    signed = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": time, **(headers or {})}
    names = ";".join(sorted(signed))
    canonical = "\n".join([method, encoded, query, *(f"{n}:{signed[n]}" for n in sorted(signed)), "", names, digest])
    scope = f"{time[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing = ("AWS4" + secret).encode()
    for part in (time[:8], region, service, "aws4_request"):
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


def put(server, key, secret, path, body=b""):
    status, text = request("PUT", server, key, secret, path, body)
    if status != 200:
        raise RuntimeError(f"PUT {path}: status {status}: {text}")
