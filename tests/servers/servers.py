"""Real servers on loopback for tests: nginx, Ceph's radosgw, OpenStack Swift with its S3 interface.

Each class starts its programs in the foreground in a folder of its own on free ports, and `stop` ends exactly
those. `missing()` names the programs that are not installed (Debian: nginx-light libnginx-mod-http-lua; ceph-mon
ceph-osd radosgw; swift-proxy swift-account swift-container swift-object memcached).
"""

import ctypes
import getpass
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, probe, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if probe():
            return
        time.sleep(0.05)  # the programs give no signal when they listen
    raise RuntimeError(f"{what} did not start within {seconds} s")


def answers(url):
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5).read()
        return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def die_with_parent():
    """In the child: end when the test is killed (PR_SET_PDEATHSIG, SIGTERM)."""
    ctypes.CDLL(None).prctl(1, 15)


class Server:
    PROGRAMS = ()

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.processes = []

    @classmethod
    def missing(cls):
        return [name for name in cls.PROGRAMS if not shutil.which(name) and not os.path.exists(name)]

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def start(self, *command, env=None):
        with open(self.path(os.path.basename(command[0]) + ".log"), "ab") as log:
            self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                                                   cwd=self.folder, preexec_fn=die_with_parent))

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []
        shutil.rmtree(self.folder, ignore_errors=True)


class Nginx(Server):
    """Files over http and https, and routes with faults: /data/ /norange/ /redirect/ /away/ /flaky/N/STATUS/ /slow/."""

    LUA = "/usr/lib/nginx/modules/ngx_http_lua_module.so"
    PROGRAMS = ("nginx", "openssl", LUA)

    def __init__(self, folder, root):
        super().__init__(folder)
        self.port, self.tls_port, self.other_port = free_port(), free_port(), free_port()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-keyout", self.path("key.pem"), "-out", self.path("cert.pem")], check=True, capture_output=True)
        self.ca_file = self.path("cert.pem")
        self.access_log = self.path("access.log")
        temporary = "".join(f"{kind}_temp_path {self.path('tmp')};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = self.write("nginx.conf", f"""
daemon off; pid {self.path('nginx.pid')}; error_log {self.path('error.log')} warn; worker_processes 1;
load_module /usr/lib/nginx/modules/ndk_http_module.so; load_module {self.LUA};
events {{ worker_connections 1024; }}
http {{
  log_format seen '$server_port "$request" $status "$http_authorization" "$http_x_api_key" "$http_cookie" "$http_range" $body_bytes_sent';
  access_log {self.access_log} seen; {temporary}
  default_type application/octet-stream; sendfile on; tcp_nopush on; keepalive_requests 100000;
  lua_shared_dict faults 1m;
  server {{
    listen 127.0.0.1:{self.port}; listen 127.0.0.1:{self.tls_port} ssl;
    ssl_certificate {self.path('cert.pem')}; ssl_certificate_key {self.path('key.pem')};
    location /data/ {{ alias {root}/; }}
    location /norange/ {{ alias {root}/; max_ranges 0; }}
    location /slow/ {{ alias {root}/; rewrite_by_lua_block {{ ngx.sleep(0.05) }} }}
    location /metadata/ {{ return 302 http://169.254.169.254/latest/meta-data/; }}
    location /redirect/ {{ rewrite ^/redirect/(.*)$ /data/$1 redirect; }}
    location /away/ {{ rewrite ^/away/(.*)$ http://127.0.0.1:{self.other_port}/data/$1 redirect; }}
    location ~ ^/flaky/(?<n>\\d+)/(?<st>\\d+)/(?<f>.*)$ {{ rewrite_by_lua_block {{
      local key = ngx.var.uri .. (ngx.var.http_range or "")
      if ngx.shared.faults:incr(key, 1, 0) <= tonumber(ngx.var.n) then
        ngx.status = tonumber(ngx.var.st); ngx.say("injected"); return ngx.exit(ngx.HTTP_OK) end
      return ngx.exec("/data/" .. ngx.var.f) }} }}
  }}
  server {{ listen 127.0.0.1:{self.other_port}; location /data/ {{ alias {root}/; }} }}
}}
""")
        self.start("nginx", "-p", self.folder, "-c", config)
        wait_for("nginx", lambda: answers(self.url + "/"))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self):
        return f"https://localhost:{self.tls_port}"


class Radosgw(Server):
    """Ceph's S3 gateway over a store in memory; session tokens by AssumeRole."""

    PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool", "ceph-authtool")
    KEY, SECRET = "AKIASHARDREEL", "shardreelsecret"

    def __init__(self, folder):
        super().__init__(folder)
        self.port, monitor = free_port(), free_port()
        fsid, user = str(uuid.uuid4()), getpass.getuser()
        for name in ("mon", "osd", "rgw", "run"):
            os.makedirs(self.path(name))
        config = self.write("ceph.conf", f"""[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{monitor}/0]
ms_bind_msgr1 = false
ms_mon_client_mode = crc
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
mon_data_avail_warn = 1
osd_objectstore = memstore
memstore_device_bytes = 1073741824
osd_data = {self.path('osd')}
osd_class_load_list = *
run_dir = {self.path('run')}
admin_socket = {self.path('run')}/$name.asok
log_file = {self.path('run')}/$name.log
pid_file =
crash_dir = {self.path('run')}
rgw_frontends = beast endpoint=127.0.0.1:{self.port}
rgw_dns_name = localhost
rgw_sts_key = abcdefghijklmnop
rgw_s3_auth_use_sts = true
rgw_enable_usage_log = false
rgw_enable_gc_threads = false
rgw_enable_lc_threads = false
[client.rgw.test]
rgw_data = {self.path('rgw')}
""")
        self.tool = lambda *command: subprocess.run([command[0], "-c", config, *command[1:]], check=True,
                                                    capture_output=True, text=True, timeout=60).stdout
        as_user = ["--setuser", user, "--setgroup", user]
        self.tool("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{monitor}]",
                  self.path("monmap"))
        self.tool("ceph-authtool", "--create-keyring", self.path("keyring"), "--gen-key", "-n", "mon.", "--cap", "mon",
                  "allow *")
        self.tool("ceph-mon", "--mkfs", "-i", "a", "--monmap", self.path("monmap"), "--keyring", self.path("keyring"),
                  "--mon-data", self.path("mon"), *as_user)
        self.start("ceph-mon", "-f", "-c", config, "-i", "a", "--mon-data", self.path("mon"), *as_user)
        wait_for("ceph-mon", lambda: self.works("ceph", "quorum_status"))
        osd = str(uuid.uuid4())
        number = self.tool("ceph", "osd", "new", osd, "0").strip() or "0"
        self.tool("ceph-osd", "--mkfs", "-i", number, "--osd-uuid", osd, *as_user)
        self.start("ceph-osd", "-f", "-c", config, "-i", number, *as_user)
        wait_for("ceph-osd", lambda: "1 up" in self.tool("ceph", "osd", "stat"))
        self.start("radosgw", "-f", "-c", config, "-n", "client.rgw.test")
        wait_for("radosgw", lambda: answers(self.url))
        self.tool("radosgw-admin", "user", "create", "--uid=test", "--display-name=test", "--access-key", self.KEY,
                  "--secret-key", self.SECRET)

    def works(self, *command):
        try:
            self.tool(*command)
            return True
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


class Swift(Server):
    """OpenStack Swift's S3 interface: one replica, one device."""

    PROGRAMS = ("swift-proxy-server", "swift-object-server", "swift-container-server", "swift-account-server",
                "swift-ring-builder", "memcached")
    KEY, SECRET = "test:tester", "testing"

    def __init__(self, folder):
        super().__init__(folder)
        self.port, cache_port = free_port(), free_port()
        user = getpass.getuser()
        os.makedirs(self.path("srv", "d1"))
        self.start("memcached", "-u", user, "-l", "127.0.0.1", "-p", str(cache_port), "-U", "0", "-m", "16")
        for name in ("object", "container", "account"):
            port = free_port()
            for step in (["create", "2", "1", "0"],
                         ["add", "--region", "1", "--zone", "1", "--ip", "127.0.0.1", "--port", str(port), "--device",
                          "d1", "--weight", "1"], ["rebalance"]):
                subprocess.run(["swift-ring-builder", self.path(name + ".builder"), *step], capture_output=True,
                               check=False)
            self.write(name + ".conf", f"""[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {self.folder}
devices = {self.path('srv')}
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_level = WARNING
log_address = {self.path('nosyslog')}
recon_cache_path = {self.folder}
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
""")
        filters = "catch_errors gatekeeper healthcheck cache listing_formats s3api tempauth bulk slo dlo".split()
        settings = {"cache": f"memcache_servers = 127.0.0.1:{cache_port}",
                    "s3api": "location = us-east-1\ns3_acl = false\ndns_compliant_bucket_names = true",
                    "tempauth": "storage_url_scheme = http\nuser_test_tester = testing .admin"}
        self.write("proxy.conf", f"""[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {self.port}
workers = 0
user = {user}
swift_dir = {self.folder}
log_level = WARNING
[pipeline:main]
pipeline = {' '.join(filters)} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
""" + "".join(f"[filter:{name}]\nuse = egg:swift#{'memcache' if name == 'cache' else name}\n{settings.get(name, '')}\n"
              for name in filters))
        for name in ("object", "container", "account", "proxy"):
            self.start("/usr/bin/python3", shutil.which(f"swift-{name}-server"), self.path(name + ".conf"))
        wait_for("swift", lambda: re.match("OK", self.health()))

    def health(self):
        try:
            return urllib.request.urlopen(self.url + "/healthcheck", timeout=5).read().decode()
        except OSError:
            return ""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"
