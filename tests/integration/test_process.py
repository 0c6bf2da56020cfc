"""Processes: start, refuse to start, workers replaced, drain, catalog roll-out."""
import json
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

import harness


class Client(threading.Thread):
    """Posts over keep-alive connections until stopped; sorts what happens."""

    REQUEST = (b"POST /openrtb2/iqiyi HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
               b"Content-Length: 2\r\n\r\n{}")

    def __init__(self, jointcap):
        super().__init__(daemon=True)
        self.jointcap = jointcap
        self.stopping = threading.Event()
        self.statuses, self.failures, self.closed, self.refused = {}, [], 0, 0

    def run(self):
        while not self.stopping.is_set():
            try:
                sock = self.jointcap.connect(5)
            except ConnectionRefusedError:
                self.refused += 1
                time.sleep(0.01)
                continue
            except OSError as error:  # a SYN may be answered by a reset while listeners close
                self.failures.append(f"connect: {error}")
                continue
            with sock:
                self.use(sock)

    def use(self, sock):
        answers = 0
        while not self.stopping.is_set():
            try:
                sock.sendall(self.REQUEST)
                head = b""
                while b"\r\n\r\n" not in head:
                    data = sock.recv(65536)
                    if not data:
                        self.closed += 1
                        if head:
                            self.failures.append("cut in the middle of an answer")
                        return
                    head += data
            except OSError as error:
                kind = "in flight" if answers else "new connection"
                self.failures.append(f"{kind}: {error}")
                return
            answers += 1
            status = int(head.split(b" ", 2)[1])
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if b"connection: close" in head.lower():
                return

    def stop(self):
        self.stopping.set()
        self.join(10)


class ProcessCase(harness.Case):
    """These tests need answers, not money: they do not wait for the first budget leases."""

    def jointcap(self, *args, **options):
        return super().jointcap(*args, **{"wait": "serving", **options})


class StartTest(ProcessCase):
    def test_a_bad_option_is_refused_with_a_guess(self):
        done = self.run_program("--worker=2")
        self.assertEqual(done.returncode, 2)
        self.assertIn("unknown option worker; did you mean workers?", done.stderr)

    def test_a_value_out_of_range_is_refused(self):
        done = self.run_program("--workers=1000")
        self.assertEqual(done.returncode, 2)
        self.assertIn("workers is 1000, but must lie between 0 and 256", done.stderr)

    def test_no_secret_is_refused_and_dev_makes_one(self):
        clean = {key: value for key, value in os.environ.items()
                 if not key.startswith("JOINTCAP_")}
        done = self.run_program("--print-config", env=clean)
        self.assertEqual(done.returncode, 2)
        self.assertIn("secret_file", done.stderr)
        done = self.run_program("--print-config", "--dev", env=clean)
        self.assertEqual(done.returncode, 0)
        self.assertIn("secret = ***\n", done.stdout)

    def test_file_environment_and_arguments_win_in_that_order(self):
        path = f"{self.folder}/jointcap.conf"
        with open(path, "w") as file:
            file.write("# comment\nworkers = 3   # three\nidle_timeout = 200s\n"
                       "redis = unix:/from/file\nadmin_token = a#b\n")
        env = dict(os.environ, JOINTCAP_SECRET=harness.SECRET, JOINTCAP_IDLE_TIMEOUT="300s",
                   JOINTCAP_REDIS="unix:/from/env")
        done = self.run_program(f"--config={path}", "--redis=unix:/from/args", "--print-config",
                                env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertIn("workers = 3", lines)
        self.assertIn("idle_timeout = 5m", lines)
        self.assertIn("redis = unix:/from/args", lines)
        self.assertNotIn(harness.SECRET, done.stdout)
        with open(path, "a") as file:
            file.write("idle_timout = 1s\n")
        done = self.run_program(f"--config={path}", "--print-config", env=env)
        self.assertEqual(done.returncode, 2)
        self.assertIn("jointcap.conf:6: unknown option idle_timout; did you mean idle_timeout?",
                      done.stderr)

    def test_admin_must_be_loopback(self):
        done = self.run_program(f"--secret={harness.SECRET}", "--admin=0.0.0.0:0")
        self.assertEqual(done.returncode, 2)
        self.assertIn("admin_public", done.stderr)

    def test_a_port_in_use_is_refused(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            done = self.run_program(f"--secret={harness.SECRET}", "--admin=127.0.0.1:0",
                                    f"--state_dir={self.folder}/state",
                                    "--listen=127.0.0.1:%d" % taken.getsockname()[1])
        self.assertEqual(done.returncode, 1)
        self.assertIn("Address already in use", done.stderr)

    def test_a_bad_first_catalog_ends_the_program_with_its_problems(self):
        path = f"{self.folder}/bad.json"
        with open(path, "w") as file:
            file.write('{"timezone": "Asia/Shanghai", "exchangs": []}')
        jointcap = self.jointcap(catalog=path, wait=False)
        self.assertEqual(jointcap.wait(), 1)
        self.assertIn("exchangs", jointcap.text())

    def test_without_a_catalog_it_is_not_ready_until_one_is_loaded(self):
        jointcap = self.jointcap(catalog="", wait=False)
        jointcap.wait_listening()
        status, answer = harness.wait_until(
            lambda: (lambda got: got if got[1].get("workers_up") == 2 else None)(jointcap.readyz()),
            "workers")
        self.assertEqual(status, 503)
        self.assertIn("no catalog is loaded", answer["reasons"])
        status, answer = jointcap.load_catalog(harness.CATALOG.read_text())
        self.assertEqual((status, answer["activated"]), (200, True))
        jointcap.wait_serving()


class CatalogTest(ProcessCase):
    def test_a_bad_catalog_changes_nothing_and_names_every_problem(self):
        jointcap = self.jointcap()
        status, answer = jointcap.load_catalog('{"timezone": "Nowhere/No", "exchangs": []}')
        self.assertEqual(status, 422)
        self.assertFalse(answer["activated"])
        self.assertEqual(answer["generation"], 1)
        self.assertGreaterEqual(answer["problems"]["errors"], 2)
        self.assertEqual(jointcap.readyz()[1]["catalog_generation"], 1)
        self.assertEqual(jointcap.load_catalog(b"not json at all")[0], 422)
        self.assertEqual(jointcap.load_catalog(b"{}")[0], 422)
        status, answer = jointcap.load_catalog(harness.CATALOG.read_text())
        self.assertEqual((status, answer["activated"]), (200, True))
        self.assertEqual(jointcap.readyz()[1]["catalog_generation"], answer["generation"])

    def test_a_pipe_in_place_of_the_catalog_stops_nothing(self):
        path = f"{self.folder}/catalog.json"
        with open(path, "w") as file:
            file.write(harness.CATALOG.read_text())
        jointcap = self.jointcap(catalog=path)
        os.unlink(path)
        os.mkfifo(path)
        os.kill(jointcap.pid, signal.SIGHUP)
        harness.wait_until(lambda: "not a regular file" in jointcap.text(), "the refusal")
        self.assertEqual(jointcap.readyz()[1]["catalog_generation"], 1)

    def test_a_link_in_the_state_dir_leads_nowhere(self):
        state, victim = f"{self.folder}/state", f"{self.folder}/victim"
        jointcap = self.jointcap(state_dir=state)
        with open(victim, "w") as file:
            file.write("mine")
        os.symlink(victim, f"{state}/catalog.next.json")
        catalog = harness.CATALOG.read_text()
        self.assertEqual(jointcap.admin("POST", "/catalog", catalog)[0], 500)
        with open(victim) as file:
            self.assertEqual(file.read(), "mine")
        os.unlink(f"{state}/catalog.next.json")
        self.assertEqual(jointcap.admin("POST", "/catalog", catalog)[0], 200)

    def test_sighup_reads_the_file_again(self):
        path = f"{self.folder}/catalog.json"
        catalog = json.loads(harness.CATALOG.read_text())
        with open(path, "w") as file:
            json.dump(catalog, file)
        jointcap = self.jointcap(catalog=path)
        digest = json.loads(jointcap.admin("GET", "/catalog")[2])["digest"]
        with open(path, "w") as file:
            json.dump(catalog, file, indent=3)
        os.kill(jointcap.pid, signal.SIGHUP)
        harness.wait_until(lambda: jointcap.readyz()[1].get("catalog_generation") == 2,
                           "generation 2")
        self.assertNotEqual(json.loads(jointcap.admin("GET", "/catalog")[2])["digest"], digest)
        self.assertTrue(jointcap.running())

    def test_a_catalog_from_the_admin_port_outlives_a_restart(self):
        path = f"{self.folder}/catalog.json"
        catalog = json.loads(harness.CATALOG.read_text())
        with open(path, "w") as file:
            json.dump(catalog, file)
        os.utime(path, (1, 1))
        first = self.jointcap(catalog=path, state_dir=f"{self.folder}/state")
        self.assertEqual(first.load_catalog(json.dumps(catalog, indent=1))[0], 200)
        digest = json.loads(first.admin("GET", "/catalog")[2])["digest"]
        self.assertEqual(first.stop(), 0)
        second = self.jointcap(catalog=path, state_dir=f"{self.folder}/state")
        self.assertEqual(json.loads(second.admin("GET", "/catalog")[2])["digest"], digest)

    def test_reload_under_load_fails_no_request(self):
        jointcap = self.jointcap()
        clients = [Client(jointcap) for _ in range(4)]
        for client in clients:
            client.start()
        for indent in range(1, 6):
            catalog = json.loads(harness.CATALOG.read_text())
            self.assertEqual(jointcap.load_catalog(json.dumps(catalog, indent=indent))[0], 200)
        for client in clients:
            client.stop()
        for client in clients:
            self.assertEqual(client.failures, [])
            self.assertTrue(client.statuses)
            self.assertLessEqual(set(client.statuses), {200, 204, 400})


class WorkerTest(ProcessCase):
    def test_a_killed_worker_is_replaced_and_others_go_on(self):
        jointcap = self.jointcap()
        survivor_pid, victim_pid = jointcap.worker_pids()
        # Connections of both workers: find which serves which by killing and looking.
        socks = [jointcap.connect() for _ in range(16)]
        for sock in socks:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n")
            self.assertIn(b"200 OK", sock.recv(1000))
        before = jointcap.metrics()
        os.kill(victim_pid, signal.SIGKILL)
        harness.wait_until(lambda: jointcap.delta(before, "jointcap_worker_restarts_total") == 1,
                           "the replacement")
        jointcap.wait_serving()
        alive = 0
        for sock in socks:
            try:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n")
                alive += b"200 OK" in sock.recv(1000)
            except OSError:
                pass
            sock.close()
        self.assertGreater(alive, 0)
        self.assertIn(survivor_pid, jointcap.worker_pids())
        self.assertNotIn(victim_pid, jointcap.worker_pids())
        self.assertEqual(len(jointcap.worker_pids()), 2)
        # What it had counted is still there.
        self.assertEqual(jointcap.metrics()["jointcap_connections_accepted_total"],
                         before["jointcap_connections_accepted_total"])

    def test_connections_waiting_for_a_dead_worker_are_taken_by_the_next(self):
        jointcap = self.jointcap(workers=1)
        worker, = jointcap.worker_pids()
        os.kill(worker, signal.SIGSTOP)  # accepts nothing any more
        socks = [jointcap.connect() for _ in range(8)]
        for sock in socks:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n")
        os.kill(worker, signal.SIGKILL)
        for sock in socks:
            self.assertIn(b"200 OK", sock.recv(1000))
            sock.close()

    def test_kill_under_load_loses_only_what_the_worker_had(self):
        jointcap = self.jointcap()
        clients = [Client(jointcap) for _ in range(8)]
        for client in clients:
            client.start()
        harness.wait_until(lambda: all(client.statuses for client in clients), "first answers")
        before = jointcap.metrics()
        os.kill(jointcap.worker_pids()[0], signal.SIGKILL)
        harness.wait_until(lambda: jointcap.delta(before, "jointcap_worker_restarts_total") == 1,
                           "the replacement")
        jointcap.wait_serving()
        for client in clients:
            client.stop()
        for client in clients:
            self.assertEqual(client.refused, 0)
            self.assertLessEqual(len(client.failures) + client.closed, 1, client.failures)
            self.assertLessEqual(set(client.statuses), {200, 204, 400})


class DrainTest(ProcessCase):
    def test_sigterm_fails_no_request_in_flight(self):
        jointcap = self.jointcap(drain_grace="500ms")
        clients = [Client(jointcap) for _ in range(8)]
        for client in clients:
            client.start()
        harness.wait_until(lambda: all(client.statuses for client in clients), "first answers")
        os.kill(jointcap.pid, signal.SIGTERM)
        self.assertEqual(jointcap.wait(), 0)
        for client in clients:
            client.stop()
        for client in clients:
            # The kernel may reset a connection that comes between the last accept and the close of
            # the listener; one that has been answered before may not fail.
            self.assertEqual([text for text in client.failures
                              if not text.startswith(("new connection", "connect"))], [])
            self.assertLessEqual(len(client.failures), 1)
            self.assertLessEqual(set(client.statuses), {200, 204, 400})

    def test_keep_alive_connections_get_a_last_answer(self):
        jointcap = self.jointcap(drain_grace="5s")
        sock = jointcap.connect()
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n")
        self.assertNotIn(b"close", sock.recv(1000).lower())
        os.kill(jointcap.pid, signal.SIGTERM)
        harness.wait_until(lambda: "draining" in jointcap.text(), "the drain")

        def refused():
            try:
                jointcap.connect(1).close()
                return False
            except OSError:
                return True
        harness.wait_until(refused, "closed listeners")
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n")
        answer = sock.recv(1000)
        self.assertIn(b"200 OK", answer)
        self.assertIn(b"Connection: close", answer)
        self.assertEqual(sock.recv(1000), b"")
        sock.close()
        self.assertEqual(jointcap.wait(), 0)

    def test_a_stuck_client_does_not_hold_the_drain(self):
        jointcap = self.jointcap(drain_timeout="300ms")
        sock = jointcap.connect()
        sock.sendall(b"POST /openrtb2/x HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab")
        harness.wait_until(lambda: jointcap.metrics()["jointcap_connections_open"] == 1, "it")
        os.kill(jointcap.pid, signal.SIGTERM)
        self.assertEqual(jointcap.wait(), 0)
        sock.close()

    def test_workers_end_when_the_supervisor_is_killed(self):
        jointcap = self.jointcap()
        workers = jointcap.worker_pids()
        os.kill(jointcap.pid, signal.SIGKILL)
        jointcap.process.wait()

        def gone():
            return not any(os.path.exists(f"/proc/{pid}/fd") and open(f"/proc/{pid}/stat").read()
                           .split(") ")[1][0] != "Z" for pid in workers)
        harness.wait_until(gone, "the workers' end")


if __name__ == "__main__":
    unittest.main()
