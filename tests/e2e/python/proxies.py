"""Real proxies as child processes, with the configurations of deploy/ but for their addresses."""

import os
import shutil
import socket
import subprocess
import tempfile

from roadstead import STOP_SECONDS_MAX, free_port, wait_until

DEPLOY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "deploy")


class Proxy:
    """One proxy. `replaced` are addresses and words of the configuration, and what stands in their place here; `ports` those on
    which it must listen before it is ready."""

    def __init__(self, name, config, command, replaced, ports):
        self.folder = tempfile.mkdtemp(prefix=f"{name}-")
        # Nobody but root starts as root; nginx' workers then run as another user, who must get here.
        os.chmod(self.folder, 0o755)
        with open(os.path.join(DEPLOY, config), encoding="utf-8") as file:
            text = file.read()
        for old, new in replaced.items():
            assert old in text, f"{config} does not say {old}"
            text = text.replace(old, new.replace("{folder}", self.folder))
        path = os.path.join(self.folder, config)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.log_path = os.path.join(self.folder, "log")
        with open(self.log_path, "wb") as log:
            arguments = [word.format(config=path, folder=self.folder) for word in command]
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: all(map(listens, ports)) or self.process.poll() is not None, what=f"{name} listens")
            assert self.process.poll() is None, f"{name} ended:\n{self.log()}"
        except BaseException:
            self.stop()
            raise

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(STOP_SECONDS_MAX)
        shutil.rmtree(self.folder, ignore_errors=True)


def listens(port):
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


def haproxy(direct, proxied, version=2):
    """HAProxy before a node's addresses: (proxy, port of connections, port of requests)."""
    connections, requests = free_port(), free_port()
    replaced = {
        "0.0.0.0:443": f"127.0.0.1:{connections}",
        "0.0.0.0:80": f"127.0.0.1:{requests}",
        "10.0.0.1:8001": f"127.0.0.1:{proxied}",
        "10.0.0.1:8000": f"127.0.0.1:{direct}",
        # It does not start where it could not hold as many.
        "maxconn 100000": "maxconn 100",
    }
    if version == 1:
        replaced["send-proxy-v2"] = "send-proxy"
    command = ["haproxy", "-db", "-f", "{config}"]
    return Proxy("haproxy", "haproxy.cfg", command, replaced, [connections, requests]), connections, requests


def nginx(direct):
    """nginx before a node: (proxy, port of requests)."""
    requests = free_port()
    replaced = {"0.0.0.0:80": f"127.0.0.1:{requests}", "10.0.0.1:8000": f"127.0.0.1:{direct}"}
    paths = "".join(
        f"{kind}_temp_path {{folder}}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # What Debian would keep under /var is kept in the test's folder.
    replaced["access_log off;"] = f"access_log off; {paths}"
    command = ["nginx", "-p", "{folder}", "-c", "{config}", "-e", "stderr", "-g", "daemon off; pid {folder}/pid;"]
    return Proxy("nginx", "nginx.conf", command, replaced, [requests]), requests
