"""A server on this machine that sends files as the datasets' mirrors do, and files in MNIST's format."""

import gzip
import hashlib
import http.server
import threading
import time

import numpy as np

from research.data.preparation import Download


class Server:
    """A server on 127.0.0.1 that sends bytes from a dict and counts the requests."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.lengths: dict[str, int] = {}  # other lengths to announce than the true ones
        self.pause = 0.0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.removeprefix("/")
                outer.requests.append(name)
                if name not in outer.files:
                    return self.send_error(404)
                content = outer.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(outer.lengths.get(name, len(content))))
                self.end_headers()
                time.sleep(outer.pause)
                try:
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True
                return None

            def log_message(self, format, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def downloads(self) -> list[Download]:
        """What would be published, had these files been."""
        return [
            Download(f"https://nowhere.invalid/{name}", len(content), hashlib.sha256(content).hexdigest())
            for name, content in self.files.items()
        ]


def idx(array):
    header = b"\0\0\x08" + bytes([array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def idx_files(source):
    return {
        f"{prefix}-{what}.gz": idx(array)
        for prefix, split in (("train", source.train), ("t10k", source.test))
        for what, array in (("images-idx3-ubyte", split.images[..., 0]), ("labels-idx1-ubyte", split.labels))
    }
