"""Offshoot and the peers that are installed, before one provider, in whatever protocols a
measurement asks for: plain forwarding, all connections reused."""

import os
import subprocess

import stack
from rig import Rig, free_ports
from stack import Proxy, program

SIZES = {"": "ok\n", "64k": "x" * (64 << 10), "1m": "x" * (1 << 20)}


def certificate(rig):
    """(certificate, key) files, an ECDSA one for localhost."""
    cert, key = rig.path("cert.pem"), rig.path("key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.chmod(key, 0o600)
    return cert, key


def provider(rig):
    """nginx: (port of HTTP/1, port of HTTP/2)."""
    one, two = free_ports(2)
    os.makedirs(rig.path("www"), exist_ok=True)
    for name, text in SIZES.items():
        if name:
            rig.write(f"www/{name}", text)
    conf = rig.write("provider2.conf", f"""daemon off; master_process off;
pid {rig.path('provider2.pid')}; error_log {rig.path('provider2.log')} warn;
worker_rlimit_nofile 16384; events {{ worker_connections 16000; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
  http2_max_concurrent_streams 1024; http2_recv_timeout 1h; http2_idle_timeout 1h;
  client_body_temp_path {rig.folder}/p2; proxy_temp_path {rig.folder}/p2;
  fastcgi_temp_path {rig.folder}/p2; uwsgi_temp_path {rig.folder}/p2;
  scgi_temp_path {rig.folder}/p2; open_file_cache max=10;
  server {{ listen 127.0.0.1:{one}; listen 127.0.0.1:{two} http2;
    location / {{ root {rig.path('www')}; }}
    location = / {{ default_type text/plain; return 200 "ok\\n"; }} }} }}
""")
    rig.spawn("provider2", [program("nginx"), "-p", rig.folder, "-c", conf]).await_port(two)
    return one, two


def ours(rig, build, provider_port, http2, tls, workers=1):
    graph = rig.write("graph.yaml", f"""kind: Service
metadata: {{name: web}}
spec: {{port: 80, providerProtocol: http{2 if http2 else 1}}}
---
kind: Environment
metadata: {{name: main}}
spec: {{mode: baseline, providers: {{web: {{endpoints: ["127.0.0.1:{provider_port}"]}}}}}}
---
kind: Gateway
metadata: {{name: edge}}
spec: {{defaultEnvironment: main, routes: [{{path: /, service: web}}]}}
""")
    more = "timeouts.providerIdle: 1h\nlimits: {connections: 20000}\n"
    secure = f",tls={tls[0]}+{tls[1]}" if tls else ""
    return stack.ours(rig, build, graph, more=more, options=secure, workers=workers)


def haproxy(rig, provider_port, http2, tls, http2_clients, workers=1):
    port, = free_ports(1)
    bind = f"127.0.0.1:{port}"
    if tls:
        with open(tls[0], encoding="ascii") as a, open(tls[1], encoding="ascii") as b:
            both = rig.write(f"haproxy-{port}.pem", a.read() + b.read())
        os.chmod(both, 0o600)
        bind += f" ssl crt {both} alpn {'h2,http/1.1' if http2_clients else 'http/1.1'}"
    elif http2_clients:
        bind += " proto h2"
    conf = rig.write(f"haproxy-{port}.cfg", f"""global
  nbthread {workers}
  maxconn 9000
  tune.h2.max-concurrent-streams 256
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  http-reuse always
frontend in
  bind {bind}
  default_backend web
backend web
  server web 127.0.0.1:{provider_port}{' proto h2' if http2 else ''}
""")
    return Proxy(rig, "haproxy", [program("haproxy"), "-db", "-f", conf], port)


def nginx(rig, provider_port, tls, http2_clients, workers=1):
    port, = free_ports(1)
    flags = (" ssl" if tls else "") + (" http2" if http2_clients else "")
    secure = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
    folder = rig.path(f"nginx-{port}")
    os.makedirs(folder, exist_ok=True)
    conf = rig.write(f"nginx-{port}.conf", f"""daemon off;
{'master_process off' if workers == 1 else f'worker_processes {workers}'};
pid {folder}/pid; error_log {folder}/log error;
worker_rlimit_nofile 16384; events {{ worker_connections 16000; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
  http2_max_concurrent_streams 256; http2_idle_timeout 1h; http2_recv_timeout 1h;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream web {{ server 127.0.0.1:{provider_port}; keepalive 512;
    keepalive_requests 1000000000; keepalive_timeout 1h; }}
  server {{ listen 127.0.0.1:{port}{flags}; {secure}
    location / {{ proxy_pass http://web; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $http_host; }} }} }}
""")
    return Proxy(rig, "nginx", [program("nginx"), "-p", folder, "-c", conf], port)


def nghttpx(rig, provider_port, http2, tls):
    port, = free_ports(1)
    lines = [f"frontend=127.0.0.1,{port}{'' if tls else ';no-tls'}",
             f"backend=127.0.0.1,{provider_port}{';;proto=h2' if http2 else ''}",
             "workers=1", "accesslog-file=/dev/null", "errorlog-file=/dev/null",
             "frontend-http2-max-concurrent-streams=256",
             "backend-http2-max-concurrent-streams=1024", "frontend-keep-alive-timeout=1h",
             "frontend-http2-read-timeout=1h"]
    if tls:
        lines += [f"private-key-file={tls[1]}", f"certificate-file={tls[0]}"]
    conf = rig.write(f"nghttpx-{port}.conf", "\n".join(lines) + "\n")
    return Proxy(rig, "nghttpx", [program("nghttpx"), f"--conf={conf}"], port)


class Bench(Rig):
    """A provider, and the proxies before it: `http2` is spoken to the provider, `http2_clients` is
    what clients will speak."""

    def __init__(self, build, keep, http2=False, http2_clients=False, secure=False, workers=1):
        super().__init__(keep)
        try:
            one, two = provider(self)
            at = two if http2 else one
            tls = certificate(self) if secure else None
            self.peers = [ours(self, build, at, http2, tls, workers)]
            if program("haproxy"):
                self.peers.append(haproxy(self, at, http2, tls, http2_clients, workers))
            if not http2:
                self.peers.append(nginx(self, at, tls, http2_clients, workers))
            if program("nghttpx") and http2_clients:
                self.peers.append(nghttpx(self, at, http2, tls))
            for peer in self.peers:
                peer.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
