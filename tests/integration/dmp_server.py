"""A small data management platform for tests: says who is in which audience, well or badly.

    dmp = DmpServer(lambda person, audience: ...)   # on a free port, in its own threads
    dmp.mode = "good" | "slow" | "garbage" | "huge" | "type" | "status" | "wrong" | "hang" | "close"
    dmp.stop(); dmp.start()                         # down and up again, on the same port
"""
import http.server
import json
import socket
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        dmp = self.server.dmp
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        question = json.loads(text)
        with dmp.lock:
            dmp.questions.append(question)
            dmp.raw.append(self.requestline + str(self.headers) + text.decode())
        body = json.dumps({"in": [audience for audience in question["audiences"]
                                  if dmp.member(question["person"], audience)]}).encode()
        status, kind = 200, "application/json"
        if dmp.mode == "slow":
            time.sleep(dmp.delay)
        elif dmp.mode == "hang":
            dmp.released.wait(30)
        elif dmp.mode == "garbage":
            body = b"{\"in\":[\"" + bytes(range(1, 200))
        elif dmp.mode == "wrong":
            body = b"[1,2,3]"
        elif dmp.mode == "huge":
            body = b"{\"in\":[" + b"\"x\"," * 1000000 + b"\"x\"]}"
        elif dmp.mode == "type":
            kind = "text/html"
        elif dmp.mode == "status":
            status = 500
        elif dmp.mode == "close":
            self.close_connection = True
            return
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a bidder that gives up closes its connection


class DmpServer:
    def __init__(self, member):
        self.member = member
        self.mode, self.delay = "good", 0.05
        self.lock, self.released = threading.Lock(), threading.Event()
        self.questions, self.raw = [], []
        self.port = 0
        self.start()
        self.url = f"http://127.0.0.1:{self.port}/audiences"

    def start(self):
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.dmp = self
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def stop(self):
        """Nobody listens any more; connections that are open are cut."""
        self.released.set()
        self.server.shutdown()
        self.server.socket.close()
        self.server.server_close()
        self.thread.join()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
