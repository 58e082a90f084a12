#!/usr/bin/env python3
"""Shards from real servers: the digests of local files, odd keys, refusals, redirects.

    remote_servers_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import json
import os
import re
import subprocess
import sys
import unittest

SHARDREEL, WORK = sys.argv[1], os.path.abspath(sys.argv[2])
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import s3_put  # noqa: E402
import servers  # noqa: E402

TOOL = os.path.join(HERE, "..", "..", "tools", "make_clips.py")
SHARDS = os.path.join(WORK, "shards")
NAMES = [f"shard-{i:06}.tar" for i in range(4)]
SMALL = ["--width", "32", "--height", "32", "--num-frames", "8", "--memory-bytes", "512MiB", "--min-fill", "10",
         "--stall-timeout", "60"]
# Nothing of the machine's own settings may matter.
CLEAN = {name: value for name, value in os.environ.items()
         if not name.startswith(("AWS_", "HF_", "GCS_")) and not name.lower().endswith("_proxy")}
CLEAN |= {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
          "AWS_EC2_METADATA_DISABLED": "true"}
ODD_KEYS = ["dt=2024-05-01/a b+c.tar", "ünïcode/日本.tar", "x//double/dot~!*'(),;:@&=+$.tar", "per%20cent%.tar",
            "dots/./in/../it.tar", "quest?ion#hash.tar"]


def run(*arguments, env=None):
    return subprocess.run([SHARDREEL, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=300, check=False, env=CLEAN | (env or {}))


def feed(*urls, env=None):
    finished = run("feed", *urls, *SMALL, "--json", env=env)
    assert finished.returncode == 0, (urls, finished.stderr)
    return json.loads(finished.stdout)


def digests(report):
    return report["order_digest"], report["pixel_digest"], report["clips"], report["samples_skipped"]


def setUpModule():
    global LOCAL
    os.makedirs(WORK, exist_ok=True)
    clips = os.path.join(WORK, "clips")
    subprocess.run([sys.executable, TOOL, clips, "--count", "16"], check=True)
    subprocess.run([SHARDREEL, "pack", clips, "--out", SHARDS, "--shard-samples", "4", "--overwrite"], check=True,
                   stdout=subprocess.DEVNULL)
    LOCAL = digests(feed(os.path.join(SHARDS, "shard-{000000..000003}.tar")))


def started(test_class, server_class, *arguments):
    missing = server_class.missing()
    if missing:
        raise unittest.SkipTest(f"{server_class.__name__} needs {', '.join(missing)}")
    server = server_class(os.path.join(WORK, server_class.__name__.lower()), *arguments)
    test_class.addClassCleanup(server.stop)
    return server


class NginxTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.nginx = started(cls, servers.Nginx, SHARDS)

    def test_http_and_https(self):
        for root in (self.nginx.url, self.nginx.tls_url):
            report = feed(root + "/data/shard-{000000..000003}.tar", "--ca-file", self.nginx.ca_file)
            self.assertEqual(digests(report), LOCAL)
        self.assertNotEqual(run("feed", self.nginx.tls_url + "/data/" + NAMES[0], *SMALL).returncode, 0)

    def test_faults_and_redirects_change_nothing(self):
        for route in ("/redirect/", "/flaky/2/503/", "/flaky/1/429/", "/slow/"):
            report = feed(self.nginx.url + route + "shard-{000000..000003}.tar")
            self.assertEqual(digests(report), LOCAL, route)

    def test_another_origin_gets_no_credentials(self):
        url = self.nginx.url.replace("//", "//user:pass@") + "/away/" + NAMES[0]
        feed(url, "--http-headers", "Cookie: topsecret", "--http-headers", "X-Api-Key: topsecret")
        with open(self.nginx.access_log, encoding="utf-8") as log:
            lines = log.read().splitlines()
        own = [line for line in lines if "/away/" in line]
        self.assertTrue(own and all('"topsecret"' in line and "Basic" in line for line in own), own)
        away = [line for line in lines if line.startswith(str(self.nginx.other_port))]
        self.assertTrue(away)
        self.assertFalse([line for line in away if "topsecret" in line or "Basic" in line])

    def test_a_server_without_ranges_is_named(self):
        failed = run("feed", self.nginx.url + "/norange/" + NAMES[0], *SMALL, "--retries", "1")
        self.assertEqual(failed.returncode, 1)
        self.assertIn("ignores ranges", failed.stderr + failed.stdout)

    def test_the_other_commands_read_it_too(self):
        local = run("inspect", os.path.join(SHARDS, NAMES[0]), "--json")
        remote = run("inspect", self.nginx.url + "/data/" + NAMES[0], "--json")
        self.assertEqual(remote.returncode, 0, remote.stderr)
        self.assertEqual(remote.stdout.replace(self.nginx.url + "/data", SHARDS), local.stdout)
        self.assertEqual(run("verify", self.nginx.url + "/data/" + NAMES[0]).returncode, 0)

    def test_a_cache_makes_the_second_epoch_local(self):
        cache = ["--cache-dir", os.path.join(WORK, "cache")]
        url = self.nginx.url + "/data/shard-{000000..000003}.tar"
        self.assertEqual(digests(feed(url, *cache)), LOCAL)
        self.assertEqual(digests(feed(url, *cache, "--cache-only", "true")), LOCAL)


class S3Tests:
    """What every S3 server must pass."""

    @classmethod
    def fill(cls, server):
        cls.server = server
        cls.env = {"AWS_ENDPOINT_URL_S3": server.url, "AWS_ACCESS_KEY_ID": server.KEY,
                   "AWS_SECRET_ACCESS_KEY": server.SECRET}
        s3_put.put(server.url, server.KEY, server.SECRET, "/data")
        for name in NAMES:
            with open(os.path.join(SHARDS, name), "rb") as file:
                s3_put.put(server.url, server.KEY, server.SECRET, "/data/" + name, file.read())

    def test_the_digests_of_local_files(self):
        self.assertEqual(digests(feed("s3://data/shard-{000000..000003}.tar", env=self.env)), LOCAL)

    def test_odd_keys(self):
        with open(os.path.join(SHARDS, NAMES[0]), "rb") as file:
            body = file.read()
        expected = digests(feed(os.path.join(SHARDS, NAMES[0])))
        for key in ODD_KEYS:
            s3_put.put(self.server.url, self.server.KEY, self.server.SECRET, "/data/" + key, body)
            listed = os.path.join(WORK, "list.txt")
            with open(listed, "w", encoding="utf-8") as file:
                file.write("s3://data/" + key + "\n")
            self.assertEqual(digests(feed("@" + listed, env=self.env)), expected, key)

    def refused(self, expected, url="s3://data/" + NAMES[0], arguments=(), **env):
        failed = run("feed", url, *SMALL, *arguments, env=self.env | env)
        self.assertEqual(failed.returncode, 1, failed.stderr)
        text = failed.stderr + failed.stdout
        self.assertRegex(text, expected)
        line = next(line for line in text.splitlines() if re.search(expected, line))
        self.assertIn("s3://data", line)
        self.assertNotIn("wrong-secret", text)

    def test_refusals_say_the_servers_reason(self):
        self.refused("SignatureDoesNotMatch|AccessDenied", AWS_SECRET_ACCESS_KEY="wrong-secret")
        self.refused("InvalidAccessKeyId|AccessDenied|SignatureDoesNotMatch", AWS_ACCESS_KEY_ID="nobody")
        self.refused("NoSuchKey", url="s3://data/nothing.tar")
        self.refused("AccessDenied|status 40[03]", arguments=("--anonymous", "true"))


class RadosgwTest(S3Tests, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fill(started(cls, servers.Radosgw))

    def test_a_session_token(self):
        server = self.server
        server.tool("radosgw-admin", "caps", "add", "--uid=test", "--caps=roles=*;user-policy=*")

        def ask(**values):
            query = "&".join(f"{name}={s3_put.urllib.parse.quote(value, safe='-._~')}"
                             for name, value in sorted(values.items()))
            return s3_put.request("POST", server.url, server.KEY, server.SECRET, "/", query=query, service="sts"
                                  if values["Action"] == "AssumeRole" else "iam")

        trust = json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/test"]}, "Action": ["sts:AssumeRole"]}]})
        policy = json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["s3:*"], "Resource": "arn:aws:s3:::*"}]})
        status, text = ask(Action="CreateRole", RoleName="reader", Path="/", AssumeRolePolicyDocument=trust)
        self.assertEqual(status, 200, text)
        status, text = ask(Action="PutRolePolicy", RoleName="reader", PolicyName="all", PolicyDocument=policy)
        self.assertEqual(status, 200, text)
        config = os.path.join(WORK, "aws_config")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"[profile role]\nrole_arn = arn:aws:iam:::role/reader\nsource_profile = keys\n"
                       f"[profile keys]\naws_access_key_id = {server.KEY}\naws_secret_access_key = {server.SECRET}\n")
        env = {"AWS_ENDPOINT_URL": server.url, "AWS_CONFIG_FILE": config, "AWS_PROFILE": "role"}
        self.assertEqual(digests(feed("s3://data/shard-{000000..000003}.tar", env=env)), LOCAL)
        bad = self.env | {"AWS_SESSION_TOKEN": "not-a-token"}
        self.assertEqual(run("feed", "s3://data/" + NAMES[0], *SMALL, env=bad).returncode, 1)


class SwiftTest(S3Tests, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fill(started(cls, servers.Swift))

    def test_a_wrong_region_is_refused(self):
        self.refused("AuthorizationHeaderMalformed|SignatureDoesNotMatch", AWS_REGION="eu-west-9")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
