"""The service, by real connections to a server in a thread."""

import contextlib
import http.client
import io
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import starmap

import numpy as np
import pytest
from PIL import Image

from research.data import InputSpec
from research.deploy.predict import Predictor

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")
serve = pytest.importorskip("research.deploy.serve")

NUM_CLASSES = 200
INPUTS = InputSpec((2, 2, 1), tuple(map(str, range(NUM_CLASSES))), mean=(0.5,), std=(0.25,))
BOUNDARY = "a-boundary"


def logits_by_gray(images):
    """The class of an image is its gray value, with a probability of about one half."""
    return np.log(NUM_CLASSES - 1) * np.eye(256)[images[:, 0, 0, 0]][:, :NUM_CLASSES]


class Server:
    """A service with its address, whose batches are recorded and may be made to wait."""

    def __init__(self, **limits):
        self.batches: list[int] = []
        self.go_on = threading.Event()
        self.go_on.set()
        predictor = Predictor(INPUTS, self.logits, batch_size=64)
        test_logits = np.eye(NUM_CLASSES)[[0, 0, 0, 1]] * 1e3
        app = serve.make_app(predictor, serve.ServeConfig(**limits), test_logits)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.socket.getsockname()[1]
        self.server = uvicorn.Server(uvicorn.Config(app, ws="none", log_level="critical"))
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],))

    def logits(self, images):
        self.go_on.wait(30)
        self.batches.append(len(images))
        if images[0, 0, 0, 0] == 255:
            raise RuntimeError("the device is lost")
        return logits_by_gray(images)

    def call(self, method, path, body=b"", headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode(), response.headers

    def post(self, *files, path="/predict"):
        head = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        body = b"".join([*starmap(part, files), f"--{BOUNDARY}--\r\n".encode()])
        return self.call("POST", path, body, head)


@contextlib.contextmanager
def running(**limits):
    server = Server(**limits)
    server.thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.server.should_exit = True
        server.thread.join(30)
        assert not server.thread.is_alive()


@pytest.fixture(scope="module")
def service():
    with running(max_images=3, max_megabytes=0.1) as server:
        yield server


def part(name, content):
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


def gray(value):
    content = io.BytesIO()
    Image.new("L", (5, 4), value).save(content, "PNG")
    return content.getvalue()


def test_each_of_200_clients_receives_its_own_answer_once():
    with running(max_wait=20.0) as server, ThreadPoolExecutor(NUM_CLASSES) as clients:
        answers = list(clients.map(lambda i: server.post((f"{i}.png", gray(i))), range(NUM_CLASSES)))
    for index, (status, text, _) in enumerate(answers):
        assert (status, [each["path"] for each in json.loads(text)]) == (200, [f"{index}.png"])
        assert json.loads(text)[0]["class"] == str(index)
    assert sum(server.batches) == NUM_CLASSES
    assert max(server.batches) <= 64
    assert len(server.batches) < NUM_CLASSES / 2


def test_the_images_of_a_request_are_answered_in_their_order(service):
    status, text, headers = service.post(("a.png", gray(7)), ("ö.png", gray(3)), path="/predict?top=2")
    assert (status, headers["content-type"]) == (200, "application/json")
    first, second = json.loads(text)
    assert list(first) == ["path", "class", "probability", "top", "error"]
    assert (first["path"], first["class"], second["path"], second["class"]) == ("a.png", "7", "ö.png", "3")
    assert first["probability"] == pytest.approx(0.5)
    assert len(first["top"]) == 2


@pytest.mark.parametrize(
    ("files", "path", "status", "sentence"),
    [
        ([("a.jpg", b"no image")], "/predict", 400, "a.jpg: it cannot be decoded: it is not in one of the"),
        ([("a.png", gray(1)[:40])], "/predict", 400, "a.png: it cannot be decoded: "),
        ([], "/predict", 400, "each field must hold an image file, as in curl -F image=@photo.jpg"),
        ([("a.png", gray(1))] * 4, "/predict", 400, "Too many files. Maximum number of files is 3."),
        (
            [("a.png", gray(1))],
            "/predict?top=0",
            400,
            "top=0 is not allowed; give a whole number",
        ),
        ([("a.png", gray(1))], "/predict?k=2", 400, "there is no parameter k; the only one is top"),
        ([("a.bmp", bytes(200_000))], "/predict", 413, "the request has 0.2 MB, and the limit is 0.1 MB"),
        ([("a.png", gray(1))], "/", 404, "there is no /; there are POST /predict, GET /healthz and GET"),
        ([("a.png", gray(255))], "/predict", 500, "the images could not be predicted; see the log"),
    ],
)
def test_a_bad_request_gets_a_sentence(service, files, path, status, sentence):
    found, text, _ = service.post(*files, path=path)
    assert (found, list(json.loads(text))) == (status, ["error"])
    assert json.loads(text)["error"].startswith(sentence)


def test_a_request_without_files_or_length_gets_a_sentence(service):
    status, text, _ = service.call("POST", "/predict", b"{}", {"Content-Type": "application/json"})
    assert (status, "send images as multipart/form-data" in text) == (415, True)
    chunked = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Transfer-Encoding": "chunked"}
    status, text, _ = service.call("POST", "/predict", iter([b"x"]), chunked)
    assert (status, "the request has no Content-Length" in text) == (411, True)
    status, text, _ = service.call("POST", "/predict", b"x", {"Content-Type": "multipart/form-data"})
    assert (status, "Missing boundary" in text) == (400, True)
    status, text, headers = service.call("GET", "/predict")
    assert (status, headers["allow"]) == (405, "POST")


def test_metrics_compare_what_was_served_with_the_test_split():
    with running() as server:
        assert server.call("GET", "/healthz")[:2] == (200, "ok\n")
        assert 'cnn_class_share{class="0",source="served"}' not in server.call("GET", "/metrics")[1]
        server.post(("a.png", gray(0)), ("b.png", gray(5)))
        server.post(("a.png", b""))
        text = server.call("GET", "/metrics")[1]
    values = dict(re.findall(r"^(\w+(?:{.*})?) (\S+)$", text, re.MULTILINE))
    assert {key: float(values[f"cnn_{key}"]) for key in (
        'class_share{class="0",source="served"}', 'class_share{class="0",source="test"}',
        'class_share{class="1",source="test"}', 'mean_confidence{source="test"}',
        'predicted_images{source="served"}', 'responses_total{status="200"}', 'responses_total{status="400"}',
        "waiting_images", "response_seconds_count", "batch_images_sum",
    )} == {
        'class_share{class="0",source="served"}': 0.5, 'class_share{class="0",source="test"}': 0.75,
        'class_share{class="1",source="test"}': 0.25, 'mean_confidence{source="test"}': 1.0,
        'predicted_images{source="served"}': 2, 'responses_total{status="200"}': 1,
        'responses_total{status="400"}': 1, "waiting_images": 0, "response_seconds_count": 1,
        "batch_images_sum": 2,
    }  # fmt: skip
    assert float(values['cnn_mean_confidence{source="served"}']) == pytest.approx(0.5)


def test_a_full_queue_refuses_and_a_service_that_ends_answers_what_it_accepted():
    with running(queue=2, max_wait=0.0) as server, ThreadPoolExecutor(2) as clients:
        server.go_on.clear()
        waiting = [clients.submit(server.post, (f"{i}.png", gray(i))) for i in (4, 9)]
        while "cnn_waiting_images 2.0" not in server.call("GET", "/metrics")[1]:
            time.sleep(0.01)
        status, text, headers = server.post(("c.png", gray(1)))
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(text)["error"].startswith("the queue of 2 images is full")
        server.server.should_exit = True
        while server.server.servers[0].is_serving():
            time.sleep(0.01)
        assert not any(each.done() for each in waiting)
        server.go_on.set()
        answers = [each.result() for each in waiting]
    assert [(status, json.loads(text)[0]["class"]) for status, text, _ in answers] == [(200, "4"), (200, "9")]
