"""Several copies of the page behind a proxy: the files agree with the app, and nginx does what they say."""

from __future__ import annotations

import ast
import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
import yaml
from helpers import ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
PROXY = (ROOT / "deploy" / "nginx.conf").read_text()
EXPLORER, NGINX = COMPOSE["services"]["explorer"], COMPOSE["services"]["proxy"]
COOKIE = "explorer_copy"
PROGRAM = os.environ.get("NGINX") or shutil.which("nginx")


def directive(name: str) -> str:
    """The value of a directive of the proxy's configuration that stands there once."""
    (value,) = re.findall(rf"^\s*{name}\s+([^;{{]+);", PROXY, re.M)
    return value


def test_ports_and_names_are_the_same_everywhere():
    (port,) = EXPLORER["expose"]
    launch = (ROOT / "app" / "demo.py").read_text()
    assert f"or {port})" in launch, "the app's own default"
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"EXPOSE {port}\n" in dockerfile and "GRADIO_SERVER_NAME=0.0.0.0" in dockerfile
    assert directive("server").split()[:2] == [f"explorer:{port}", "resolve"]
    assert directive("proxy_pass") == "http://explorer" and "upstream explorer {" in PROXY
    (port_mapping,) = NGINX["ports"]
    assert port_mapping == f"127.0.0.1:${{PORT:-8080}}:{directive('listen')}"
    assert NGINX["volumes"] == ["./deploy/nginx.conf:/etc/nginx/nginx.conf:ro"]
    assert set(NGINX["networks"]) == {"inside", "outside"} and EXPLORER["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_copies_and_proxy_have_health_checks_that_ask_the_right_address():
    assert int(re.fullmatch(r"\$\{REPLICAS:-(\d+)\}", EXPLORER["deploy"]["replicas"])[1]) >= 2
    *_, code = EXPLORER["healthcheck"]["test"]
    ast.parse(code)
    assert f"http://127.0.0.1:{EXPLORER['expose'][0]}/" in code
    assert NGINX["healthcheck"]["test"][-1] == f"http://127.0.0.1:{directive('listen')}/proxy-health"
    assert "location = /proxy-health {" in PROXY
    assert NGINX["depends_on"]["explorer"]["condition"] == "service_healthy"
    for service in (EXPLORER, NGINX):
        assert service["restart"] == "unless-stopped" and service["read_only"]


def test_the_proxy_lets_through_what_the_app_takes_and_streams():
    (limit,) = re.findall(r'max_file_size="(\d+)mb"', (ROOT / "app" / "demo.py").read_text())
    max_body_mb = int(directive("client_max_body_size").removesuffix("m"))
    assert int(limit) < max_body_mb <= 2 * int(limit), "larger uploads get the app's own sentence"
    assert directive("proxy_buffering") == "off" and directive("proxy_read_timeout") == "1h"
    assert directive("access_log") == "off"
    assert PROXY.count(f"$cookie_{COOKIE}:$uri") == 2 and PROXY.count(f"{COOKIE}=$request_id;") == 2
    assert directive("hash") == "$affinity", "`consistent` would take all copies of one name for the same server"


class Copy(http.server.BaseHTTPRequestHandler):
    """A copy of the page that answers with its number."""

    def do_GET(self):
        body = str(self.server.server_port).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def copies(count: int):
    """That many copies, each answering with its port."""
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Copy) for _ in range(count)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield servers
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


@contextmanager
def proxy(folder, servers):
    """Run nginx with the shipped configuration, except for the port, the servers' addresses and Docker's resolver."""
    port, lines = free_port(), ""
    for server in servers:
        lines += f"server 127.0.0.1:{server.server_port} max_fails=2 fail_timeout=10s;\n"
    text = re.sub(r"server explorer:7860[^;]+;", lines, PROXY)
    text = re.sub(r"resolver [^;]+;", "", text).replace("listen 8080", f"listen 127.0.0.1:{port}")
    text = text.replace("/tmp/", f"{folder}/")
    path = folder / "nginx.conf"
    path.write_text(f"daemon off;\nmaster_process off;\n{text}")
    check = subprocess.run(
        [PROGRAM, "-t", "-p", folder, "-e", "stderr", "-c", path], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr
    process = subprocess.Popen([PROGRAM, "-p", folder, "-e", "stderr", "-c", path], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                assert urllib.request.urlopen(f"{address}/proxy-health", timeout=2).read() == b"ok\n"
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def ask(address: str, cookie: str = "") -> tuple[str, str]:
    """Which copy answered, and the cookie that it set."""
    request = urllib.request.Request(address, headers={"Cookie": cookie} if cookie else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode(), (answer.headers["Set-Cookie"] or "").partition(";")[0]


@pytest.mark.skipif(PROGRAM is None, reason="nginx is not installed (or name it in NGINX)")
def test_a_visitor_stays_with_one_copy_and_goes_to_another_when_that_ends(tmp_path):
    with copies(3) as servers, proxy(tmp_path, servers) as address:
        visitors = [ask(f"{address}/") for _ in range(30)]
        assert {copy for copy, _ in visitors} == {str(server.server_port) for server in servers}, "all are used"
        assert all(re.fullmatch(rf"{COOKIE}=[0-9a-f]{{32}}", cookie) for _, cookie in visitors)
        for copy, cookie in visitors[:10]:
            for path in ("/", "/gradio_api/queue/join", "/config"):
                assert ask(f"{address}{path}", cookie) == (copy, ""), "the copy of the cookie, and no new cookie"
        assert ask(f"{address}/config")[1].startswith(COOKIE), "a program asks for this first, and keeps the cookie"
        without = {ask(f"{address}/gradio_api/call/analyze_film") for _ in range(10)}
        assert len(without) == 1 and without.pop()[1] == "", "without a cookie the address decides"
        first_server = servers[0]
        first_server.shutdown()
        first_server.server_close()
        for copy, cookie in visitors:
            answers = {ask(f"{address}/gradio_api/info", cookie)[0] for _ in range(2)}
            assert len(answers) == 1 and (copy == str(first_server.server_port)) == (answers != {copy})
