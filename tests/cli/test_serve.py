import io
import json
import os
import signal
import socket
import threading
import time
import urllib.request

import pytest
from PIL import Image

pytest.importorskip("uvicorn")


def test_a_run_is_served_until_a_signal_ends_it(call, run_folder):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, found = f"http://127.0.0.1:{port}", []
    image = io.BytesIO()
    Image.new("RGB", (30, 20), "gray").save(image, "PNG")
    body = b'--b\r\nContent-Disposition: form-data; name="i"; filename="a.png"\r\n\r\n'
    body += image.getvalue() + b"\r\n--b--\r\n"

    def client():
        try:
            for _ in range(3000):
                try:
                    urllib.request.urlopen(f"{url}/healthz", timeout=30).close()
                    break
                except OSError:
                    time.sleep(0.02)
            head = {"Content-Type": "multipart/form-data; boundary=b"}
            with urllib.request.urlopen(urllib.request.Request(f"{url}/predict", body, head)) as answer:
                found.append(json.load(answer))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=client)
    thread.start()
    served = call("serve.py", run_folder, f"--port={port}")
    thread.join()
    assert (served.code, served.err) == (0, "")
    assert served.out == f"serving {run_folder} on {url}; POST images to {url}/predict\n"
    assert signal.getsignal(signal.SIGTERM) is before
    predicted = json.loads(call_predict(call, run_folder, image.getvalue()).out)[0]
    assert found[0][0]["class"] == predicted["class"]
    assert found[0][0]["probability"] == pytest.approx(predicted["probability"], rel=1e-5)


def call_predict(call, run_folder, content):
    with open("a.png", "wb") as file:
        file.write(content)
    return call("predict.py", run_folder, "a.png", "--format=json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--queue=0"], "--queue=0 is not allowed; give a whole number, at least 1"),
        (["--max-megabytes=0"], "--max-megabytes=0 is not allowed; give a number, above 0"),
        (["--port=70000"], "--port=70000 is not allowed; give a whole number, from 0 to 65535"),
        (["--tta=spin"], "--tta=spin is not allowed; give one of flip, flip_shift, none"),
        (["--port=0"], "nowhere is not a run: it holds no config.yaml"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(call, arguments, message):
    refused = call("serve.py", "nowhere", *arguments)
    assert (refused.code, refused.out, refused.err) == (2, "", f"serve.py: {message}\n")


def test_a_port_that_is_taken_is_refused_in_a_sentence(call, run_folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = call("serve.py", run_folder, f"--port={port}")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        f"serve.py: --host=127.0.0.1 --port={port} is not allowed: address already in use; give others\n"
    )
