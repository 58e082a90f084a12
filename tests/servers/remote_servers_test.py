#!/usr/bin/env python3
"""Shards from real servers: the digests of local files, odd keys, refusals, redirects.

    remote_servers_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import json
import os
import re
import subprocess
import random
import sys
import tarfile
import time
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


def large_shard(path):
    """A shard of 1 GiB, mostly holes, with one sample of some MB in its middle; the bytes of that sample."""
    clip = path + ".mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=25,noise=alls=90:allf=t",
                    "-t", "6", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "14", "-g", "50", "-pix_fmt", "yuv420p",
                    clip], check=True)
    with open(clip, "rb") as file:
        video = file.read()
    with open(path, "wb") as shard:
        for name, size, content in (("before.mp4", 512 << 20, None), ("wanted.mp4", len(video), video),
                                    ("wanted.cls", 1, b"7"), ("z-behind.mp4", 510 << 20, None)):
            member = tarfile.TarInfo(name)
            member.size = size
            shard.write(member.tobuf(tarfile.USTAR_FORMAT))
            begin = shard.tell()
            if content:
                shard.write(content)
            shard.seek(begin + (size + 511) // 512 * 512)
        shard.truncate(shard.tell() + 1024)
    os.remove(clip)
    return len(video) + 1


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


    def test_one_sample_of_a_large_shard_by_the_index(self):
        path = os.path.join(SHARDS, "large.tar")
        wanted = large_shard(path)
        self.addCleanup(os.remove, path)
        self.assertGreater(os.path.getsize(path), 1 << 30)
        url = self.nginx.url + "/data/large.tar"
        indexes = os.path.join(WORK, "indexes")
        made = run("index", url, "--index-dir", indexes)
        self.assertEqual(made.returncode, 0, made.stderr + made.stdout)
        self.assertEqual(run("index", url, "--index-dir", indexes, "--check").returncode, 0)
        self.assertNotEqual(run("index", url).returncode, 0)  # nothing can be put beside it
        arguments = ["--index-dir", indexes, "--filter", "key=wanted"]
        with open(self.nginx.access_log, encoding="utf-8") as log:
            before = len(log.readlines())
        report = feed(url, *arguments)
        with open(self.nginx.access_log, encoding="utf-8") as log:
            lines = [line for line in log.readlines()[before:] if "large.tar" in line]
        sent = sum(int(line.split()[-1]) for line in lines)
        print(f"{sent} bytes in {len(lines)} answers for a sample of {wanted} in 1 GiB", file=sys.stderr)
        self.assertGreater(wanted, 8_000_000)
        self.assertGreater(sent, wanted // 2)
        self.assertLessEqual(sent, wanted * 1.03)
        self.assertEqual(digests(report), digests(feed(path, "--filter", "key=wanted")))

    def test_bytes_in_flight_stay_within_their_share(self):
        url = self.nginx.url + "/data/shard-{000000..000003}.tar"
        planned = run("plan", url, *SMALL, "--json")
        self.assertEqual(planned.returncode, 0, planned.stderr)
        plan = json.loads(planned.stdout)
        share = sum(row["bytes"] for row in plan["shares"]
                    if row["share"] in ("read ahead", "open videos", "packets", "network"))
        report = feed(url, "--epochs", "20")
        self.assertLessEqual(report["ledger_peak_bytes"]["encoded"], share)
        if "SHARDREEL_SANITIZED" not in os.environ:  # they need memory of their own
            self.assertLessEqual(report["peak_pss_bytes"], plan["memory_bytes"] + (96 << 20))

    def test_the_metadata_service_is_out_of_reach(self):
        failed = run("feed", self.nginx.url + "/metadata/" + NAMES[0], *SMALL)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("only the list of shards may name", failed.stderr + failed.stdout)


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

    def names_below(self, prefix):
        status, text = s3_put.request("GET", self.server.url, self.server.KEY, self.server.SECRET, "/data",
                                      query="prefix=" + prefix)
        self.assertEqual(status, 200, text)
        return re.findall(r"<Key>" + prefix + r"/([^<]*)</Key>", text)

    def pack(self, prefix, *arguments, samples=4):
        return [SHARDREEL, "pack", os.path.join(WORK, "clips"), "--out", "s3://data/" + prefix, "--shard-samples",
                str(samples), *arguments]

    def test_packing_into_a_bucket(self):
        packed = subprocess.run(self.pack("packed", "--json"), env=CLEAN | self.env, capture_output=True, text=True,
                                timeout=120, check=False)
        self.assertEqual(packed.returncode, 0, packed.stderr)
        self.assertEqual(json.loads(packed.stdout)["out"], "s3://data/packed")
        self.assertEqual(sorted(self.names_below("packed")), sorted(NAMES + ["dataset.json"]))
        self.assertEqual(digests(feed("s3://data/packed/shard-{000000..000003}.tar", env=self.env)), LOCAL)
        verified = run("verify", "s3://data/packed/shard-{000000..000003}.tar", env=self.env)
        self.assertEqual(verified.returncode, 0, verified.stderr + verified.stdout)
        other = subprocess.run(self.pack("packed", samples=8), env=CLEAN | self.env, capture_output=True, text=True,
                               timeout=120, check=False)
        self.assertEqual(other.returncode, 2, other.stderr)
        self.assertIn("is there already", other.stderr)
        self.assertEqual(digests(feed("s3://data/packed/shard-{000000..000003}.tar", env=self.env)), LOCAL)

    def test_packing_that_is_killed_leaves_whole_objects_only(self):
        sizes = {name: os.path.getsize(os.path.join(SHARDS, name)) for name in NAMES}
        for number in range(6):
            prefix = f"killed{number}"
            with subprocess.Popen(self.pack(prefix), env=CLEAN | self.env, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as packing:
                time.sleep(random.random())  # the moment is what is random here
                packing.kill()
            names = self.names_below(prefix)
            if "dataset.json" in names:
                self.assertEqual(sorted(names), sorted(NAMES + ["dataset.json"]))
            for name in set(names) - {"dataset.json"}:
                status, body = s3_put.request("HEAD", self.server.url, self.server.KEY, self.server.SECRET,
                                              f"/data/{prefix}/{name}", with_headers=True)
                self.assertEqual((status, int(body["content-length"])), (200, sizes[name]))
            again = subprocess.run(self.pack(prefix), env=CLEAN | self.env, capture_output=True, text=True, timeout=120,
                                   check=False)
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertEqual(sorted(self.names_below(prefix)), sorted(NAMES + ["dataset.json"]))
            self.assertEqual(digests(feed(f"s3://data/{prefix}/shard-{{000000..000003}}.tar", env=self.env)), LOCAL)

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
