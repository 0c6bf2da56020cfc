#!/usr/bin/env python3
"""A Redis cluster of three masters and three replicas on loopback, for trying things out and for
`make test-cluster`. Runs until Ctrl-C; everything lies in a temp dir and is gone afterwards.

    deploy/cluster.py              prints the address for the bidder: redis = cluster:...
"""
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

NODE_TIMEOUT_MS = 1000
MASTERS = 3


def free_port():
    """A port whose bus port (+10000) is free too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            if port > 55000:
                continue
            try:
                second.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            return port


class Node:
    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        os.makedirs(folder, exist_ok=True)
        self.process = None
        self.start()

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir",
                   self.folder, "--cluster-enabled", "yes", "--cluster-node-timeout",
                   str(NODE_TIMEOUT_MS), "--save", "", "--appendonly", "no", "--daemonize", "no",
                   "--hash-max-listpack-entries", "512", "--maxmemory-policy", "noeviction",
                   "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0",
                   "--loglevel", "warning"]
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, number=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait()

    def command(self, *args):
        done = subprocess.run(["redis-cli", "-p", str(self.port), *map(str, args)],
                              capture_output=True, text=True, timeout=10)
        return done.stdout.strip()


class Cluster:
    def __init__(self, folder):
        self.nodes = [Node(f"{folder}/{i}", free_port()) for i in range(2 * MASTERS)]
        try:
            self.form()
        except BaseException:
            self.stop()
            raise

    @property
    def address(self):
        return "cluster:" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def form(self):
        self.wait(lambda: all(node.command("PING") == "PONG" for node in self.nodes), "the nodes")
        done = subprocess.run(
            ["redis-cli", "--cluster", "create", *(f"127.0.0.1:{n.port}" for n in self.nodes),
             "--cluster-replicas", "1", "--cluster-yes"], capture_output=True, text=True,
            timeout=60)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        self.wait(self.healthy, "the cluster to form")

    def healthy(self):
        """Every node sees all slots served, and each master has a replica in step."""
        for node in self.nodes:
            if "cluster_state:ok" not in node.command("CLUSTER", "INFO"):
                return False
        return all("master_link_status:up" in node.command("INFO", "replication")
                   for node in self.nodes if not self.is_master(node))

    @staticmethod
    def is_master(node):
        return node.command("ROLE").split("\n")[0] == "master"

    def masters(self):
        return [node for node in self.nodes if self.is_master(node)]

    @staticmethod
    def wait(condition, what, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(what)
            time.sleep(0.1)

    def stop(self):
        for node in self.nodes:
            node.kill()


def main():
    folder = tempfile.mkdtemp(prefix="jointcap-cluster-")
    cluster = Cluster(folder)
    try:
        print(f"redis = {cluster.address}", flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
