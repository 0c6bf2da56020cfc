"""A real cluster behind the interface of harness.Redis, so that tests written for one server run on it."""
import socket
import sys

import harness

sys.path.insert(0, str(harness.ROOT / "deploy"))
import cluster as redis_cluster  # noqa: E402

EVERYWHERE = {"KEYS", "DBSIZE", "FLUSHALL", "PING"}  # commands without a key


class ClusterRedis:
    def __init__(self, folder):
        self.cluster = redis_cluster.Cluster(folder)
        self.address = self.cluster.address
        self.ports = [node.port for node in self.cluster.masters()]  # nobody moves in our tests

    _reply = harness.Redis._reply

    def command(self, *args):
        """Like harness.Redis.command; a command without a key is put to every master."""
        name = str(args[0]).upper()
        if name not in EVERYWHERE:
            return self.ask(self.ports[0], args)
        answers = [self.ask(port, args) for port in self.ports]
        if isinstance(answers[0], list):
            return [key for answer in answers for key in answer]
        return sum(answers) if isinstance(answers[0], int) else answers[0]

    def ask(self, port, args):
        for _ in range(5):
            answer = self.exchange(port, args)
            if not isinstance(answer, str) or not answer.startswith("MOVED "):
                return answer
            port = int(answer.rsplit(":", 1)[1])
        raise AssertionError(f"sent round in circles: {answer}")

    def exchange(self, port, args):
        parts = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
        with socket.create_connection(("127.0.0.1", port), harness.WAIT_SECONDS) as sock:
            sock.sendall(b"*%d\r\n" % len(parts) +
                         b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
            with sock.makefile("rb") as reader:
                return self._reply(reader)

    def stop(self):
        self.cluster.stop()
