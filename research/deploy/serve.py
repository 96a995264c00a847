"""A web service that predicts the classes of the images that its clients send."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Annotated, Any

import numpy as np
from scipy.special import softmax
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from research.deploy.batching import Batcher
from research.deploy.metrics import Metrics
from research.deploy.predict import Predictor
from research.utils.constraints import AtLeastOne, Between
from research.utils.cpus import num_cpus
from research.utils.errors import reason_of

ROUTES = "POST /predict, GET /healthz and GET /metrics"


@dataclass(frozen=True)
class ServeConfig:
    """The limits of a service.

    Args:
        max_wait: longest time in milliseconds that the first image of a batch waits for further images.
        queue: largest number of images that wait or are predicted; a request beyond it gets the status 503.
        max_images: largest number of images in a request.
        max_megabytes: largest size of a request in megabytes.
    """

    max_wait: Annotated[float, Between(0, 60_000)] = 5.0
    queue: Annotated[int, AtLeastOne] = 256
    max_images: Annotated[int, AtLeastOne] = 64
    max_megabytes: Annotated[float, Between(0, low_excluded=True)] = 20.0


def make_app(
    predictor: Predictor, config: ServeConfig | None = None, test_logits: np.ndarray | None = None
) -> Starlette:
    """Return the ASGI application of a service.

    Args:
        predictor: predicts the images.
        config: the limits; `None` takes the defaults.
        test_logits: the logits `[N, K]` of the test split, with which `/metrics` compares; `None` if unknown.
    """
    service = Service(predictor, config or ServeConfig(), test_logits)
    return Starlette(
        routes=[
            Route("/predict", service.predict, methods=["POST"]),
            Route("/healthz", service.report_health),
            Route("/metrics", service.report_metrics),
        ],
        exception_handlers={
            HTTPException: service.refuse,
            ClientDisconnect: service.refuse,
            Exception: service.refuse,
        },
        lifespan=service.lifespan,
    )


class Service:
    """The handlers of the requests to a service, and the state that they share.

    Args:
        predictor: predicts the images.
        config: the limits.
        test_logits: the logits `[N, K]` of the test split; `None` if they are not known.
    """

    def __init__(self, predictor: Predictor, config: ServeConfig, test_logits: np.ndarray | None) -> None:
        self._predictor, self._config = predictor, config
        self._num_waiting = 0
        self._metrics = Metrics(predictor.inputs.class_names, lambda: self._num_waiting, test_logits)
        self._logits = Batcher(
            predictor.logits, predictor.batch_size, config.max_wait / 1e3, self._metrics.batch_images.observe
        )
        self._decoders = ThreadPoolExecutor(num_cpus())

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Compute batches from the start of the service until all requests are answered."""
        batches = asyncio.create_task(self._logits.run())
        yield
        batches.cancel()
        self._decoders.shutdown()

    async def predict(self, request: Request) -> Response:
        """Answer with one list, which has an object for each image in the order of the request."""
        began, top = time.perf_counter(), _top(request.query_params)
        self._check_headers(request)
        async with request.form(max_files=self._config.max_images) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            if not files or len(files) < len(form.multi_items()):
                raise HTTPException(400, "each field must hold an image file, as in curl -F image=@photo.jpg")
            if self._num_waiting + len(files) > self._config.queue:
                text = f"the queue of {self._config.queue} images is full; send the request again later"
                raise HTTPException(503, text, {"Retry-After": "1"})
            self._num_waiting += len(files)
            try:
                predictions = await self._predict(files, top)
            finally:
                self._num_waiting -= len(files)
        self._metrics.seconds.observe(time.perf_counter() - began)
        return self._answer(predictions)

    async def _predict(self, files: list[UploadFile], top: int) -> list[dict[str, Any]]:
        """Return the predictions of image files, and count them."""
        run = partial(asyncio.get_running_loop().run_in_executor, self._decoders, self._predictor.decode)
        images = []
        for file in files:
            try:
                images.append(await run(BytesIO(await file.read())))
            except (ValueError, OSError) as error:
                raise HTTPException(400, f"{file.filename or 'the image'}: {reason_of(error)}") from error
        rows = await asyncio.gather(*map(self._logits, images))
        probabilities = softmax(np.asarray(rows, np.float64), axis=-1)
        self._metrics.count(probabilities)
        names = [file.filename for file in files]
        return [each.to_dict() for each in map(partial(self._predictor.name, top), names, probabilities)]

    def _check_headers(self, request: Request) -> None:
        """Refuse a request that holds no files, or whose body is too large."""
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise HTTPException(415, "send images as multipart/form-data, as in curl -F image=@photo.jpg")
        length = request.headers.get("content-length")
        if length is None:  # without this header, a request may be of any size
            raise HTTPException(411, "the request has no Content-Length; send one")
        if (megabytes := int(length) / 1e6) > self._config.max_megabytes:
            limit = f"the limit is {self._config.max_megabytes:g} MB"
            raise HTTPException(413, f"the request has {megabytes:.1f} MB, and {limit}")

    async def report_health(self, request: Request) -> Response:
        """Answer that the service can predict; it does not listen before its network is compiled."""
        return PlainTextResponse("ok\n")

    async def report_metrics(self, request: Request) -> Response:
        """Answer with the numbers since the start, in the text format of Prometheus."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Answer an error with an object whose key `error` holds one sentence."""
        if isinstance(error, ClientDisconnect):
            return self._answer({"error": "the connection ended before the request was complete"}, 400)
        if not isinstance(error, HTTPException):  # Starlette then raises the error, and uvicorn logs it
            return self._answer({"error": "the images could not be predicted; see the log"}, 500)
        text, path = error.detail, request.url.path
        if error.status_code == 404:
            text = f"there is no {path}; there are {ROUTES}"
        if error.status_code == 405:
            text = f"{request.method} {path} is not allowed; there are {ROUTES}"
        return self._answer({"error": text}, error.status_code, error.headers)

    def _answer(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        self._metrics.responses.labels(status).inc()
        return JSONResponse(content, status, headers)


def _top(query: Mapping[str, str]) -> int:
    """Return the number of most probable classes that a request asks for."""
    for name in query:
        if name != "top":
            raise HTTPException(400, f"there is no parameter {name}; the only one is top")
    value = query.get("top", "3")
    if not (value.isascii() and value.isdecimal() and int(value[:9]) >= 1):
        raise HTTPException(400, f"top={value} is not allowed; give a whole number, at least 1")
    return int(value[:9])
