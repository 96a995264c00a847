"""Predict the classes of images that arrive by HTTP, with the network of a finished run.

POST /predict takes one image or several as multipart/form-data, and answers with JSON. GET /healthz answers
ok, and GET /metrics has numbers for Prometheus. SIGTERM or Ctrl-C ends the service after it has answered the
requests that it has accepted. The command needs the extra serve.

Examples:
    cnn-research serve outputs/x --port 8000
    curl -F image=@photo.jpg http://127.0.0.1:8000/predict
"""

import signal
import socket
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from research import records
from research.cli.arguments import Arguments, add_flags, add_others, check_choice, read_flags
from research.cli.wrapper import exit_with_jax
from research.config import ConfigError
from research.training.tta import TTA
from research.utils.constraints import OneOf

PACKAGES = ("starlette", "uvicorn", "python_multipart", "prometheus_client")

MAX_PIXELS = 50_000_000
"""The largest number of pixels of an image. A small file can hold an image that does not fit into memory."""

DRAIN_SECONDS = 30
"""The longest time that the service waits for the requests that it has accepted, before it ends."""


def command() -> int:
    """Serve the run on the command line until a signal ends the service."""
    if missing := [name.replace("_", "-") for name in PACKAGES if find_spec(name) is None]:
        raise ConfigError(f"serve needs {', '.join(missing)}: pip install 'cnn-research[serve]'")
    import uvicorn

    from research.deploy.compile import BATCH_SIZES, compute_in_calling_thread
    from research.deploy.predict import Predictor
    from research.deploy.serve import ServeConfig, make_app

    parser = Arguments(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all addresses")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0: any free port")
    parser.add_argument("--tta", help=f"test-time augmentation instead of the run's: {OneOf(TTA)}")
    add_others(parser)
    add_flags(parser, ServeConfig)
    arguments = parser.parse_args()
    check_choice("--tta", arguments.tta, TTA)
    config = read_flags(ServeConfig, arguments)
    compute_in_calling_thread()
    with _listen(arguments.host, arguments.port) as listener:
        predictor = Predictor.from_run(arguments.run, arguments.tta, BATCH_SIZES, arguments.others)
        test_logits = records.read_run(arguments.run).arrays().get("test_logits")
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(predictor, config, test_logits),
                ws="none",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        # uvicorn sends the signal again after it has ended the service; this handler then has no effect
        before = {name: signal.signal(name, server.handle_exit) for name in (signal.SIGTERM, signal.SIGINT)}
        most_pixels = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses an image with twice as many
        try:
            listener.listen(1024)
            host, port = listener.getsockname()[:2]
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            print(f"serving {arguments.run} on {url}; POST images to {url}/predict", flush=True)
            server.run(sockets=[listener])
        finally:
            Image.MAX_IMAGE_PIXELS = most_pixels
            for name, handler in before.items():
                signal.signal(name, handler)
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that has an address and does not listen yet.

    Until the network is compiled, clients are refused and need not wait.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port={port} is not allowed; give a whole number, from 0 to 65535")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"--host={host} --port={port} is not allowed: {reason}; give others") from error
    return listener


def main() -> None:
    """Run the command and exit."""
    exit_with_jax(command)
