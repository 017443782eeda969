"""A threaded HTTP server: python3 server.py fd | python3 server.py PATH (a unix socket to make)."""
import hashlib
import http.server
import json
import os
import socket
import socketserver
import sys
import time
import urllib.parse

RELEASE = open("release.txt").read().strip()


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def answer(self, text, status=200, more=()):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in more:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def respond(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/echo":
            # Names as they arrived, so that a doubled header shows.
            headers = [[name.lower(), value] for name, value in self.headers.items()]
            digest = hashlib.sha256(body).hexdigest()
            self.answer(json.dumps({"method": self.command, "path": self.path, "headers": headers,
                                    "length": length, "sha256": digest,
                                    "environment": dict(os.environ), "uid": os.getuid(),
                                    "pid": os.getpid(), "cwd": os.getcwd()}),
                        more=[("Connection", "X-Private"), ("X-Private", "1"), ("X-Kept", "1")])
        elif url.path == "/die":
            os._exit(3)
        elif url.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"only this")
            self.wfile.flush()
            self.close_connection = True
        elif url.path == "/stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"6\r\nbegun\n\r\n")
            self.wfile.flush()
            while not os.path.exists(query["mark"]):
                time.sleep(0.005)
            self.wfile.write(b"6\r\nended\n\r\n0\r\n\r\n")
        elif url.path == "/hold":
            open(query["mark"] + ".begun", "w").close()
            while not os.path.exists(query["mark"] + ".end"):
                time.sleep(0.005)
            self.answer(RELEASE)
        elif url.path == "/large":
            self.send_response(200)
            self.send_header("Content-Length", str(int(query["size"])))
            self.end_headers()
            for _ in range(int(query["size"]) // 65536):
                self.wfile.write(b"x" * 65536)
        elif url.path == "/text":
            more = [("Content-Type", query["type"])]
            text = "".join(f"<p>number {n}</p>\n" for n in range(int(query["count"])))
            if "coding" in query:
                more.append(("Content-Encoding", query["coding"]))
            if "chunked" not in query:
                return self.answer(text, more=more)
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            for name, value in more:
                self.send_header(name, value)
            self.end_headers()
            for at in range(0, len(text), 1000):
                part = text[at:at + 1000].encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        elif url.path == "/bad":
            self.answer("broken", 500)
        else:
            self.answer(RELEASE)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = respond


server = Server(("", 0), Handler, bind_and_activate=False)
server.socket.close()
if sys.argv[1] == "fd":
    assert os.environ["LISTEN_FDS"] == "1" and os.environ["LISTEN_PID"] == str(os.getpid())
    server.socket = socket.socket(fileno=3)
else:
    server.socket = socket.socket(socket.AF_UNIX)
    if os.path.exists(sys.argv[1]):
        os.unlink(sys.argv[1])
    server.socket.bind(sys.argv[1])
    server.socket.listen(128)
print("the server is up", flush=True)
server.serve_forever()
