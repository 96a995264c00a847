"""The optimizers beyond the first ones follow the recursions of their docstrings, and find minima."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.training.optimizers import OPTIMIZERS, make_optimizer, set_rates
from research.training.schedules import constant, cosine
from research.training.state import TrainState, eval_params

STEPS = 7
RNG = np.random.default_rng(0)
SHAPES = {"conv1/kernel": (2, 2, 1, 3), "conv1/bias": (3,), "logits/kernel": (4, 3), "logits/bias": (3,)}
START = {path: RNG.normal(size=shape) for path, shape in SHAPES.items()}
NOISE = [{path: RNG.normal(size=shape) for path, shape in SHAPES.items()} for _ in range(STEPS)]


def nested(flat: dict[str, Any]) -> Any:
    return {
        layer: {name: jnp.asarray(flat[f"{layer}/{name}"]) for name in ("kernel", "bias")}
        for layer in ("conv1", "logits")
    }


def state_of(params: Any, opt_state: Any) -> TrainState:
    return TrainState(jnp.int32(0), params, {}, opt_state, jax.random.key(0))


def trained(name: str, **arguments: Any) -> Any:
    """The parameters that are evaluated after steps with the gradient `0.5 * params + noise`."""
    with jax.enable_x64(True):
        schedule = (constant if name == "schedule_free_adamw" else cosine)(STEPS)
        optimizer = make_optimizer(name, schedule, learning_rate=0.1, weight_decay=0.3, **arguments)
        params = nested(START)
        state = optimizer.init(params)

        @jax.jit
        def step(params: Any, state: Any, noise: Any) -> Any:
            grads = jax.tree.map(lambda p, n: 0.5 * p + n, params, noise)
            updates, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        for noise in NOISE:
            params, state = step(params, state, nested(noise))
        return jax.device_get(eval_params(state_of(params, state))[0])


def bias_corrected(average: np.ndarray, decay: float, t: int) -> np.ndarray:
    return average / (1 - decay**t)


def orthogonalized(matrix: np.ndarray) -> np.ndarray:
    """Five Newton-Schulz iterations of a matrix, on its shorter side."""
    x = matrix / (np.linalg.norm(matrix) + 1e-8)
    x = x.T if x.shape[0] > x.shape[1] else x
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x - 4.775 * a @ x + 2.0315 * a @ a @ x
    return x if x.shape == matrix.shape else x.T


def one_array(name: str, path: str, threshold: float = 5.0) -> np.ndarray:
    """The recursion of an optimizer whose arrays do not depend on each other."""
    theta = y = START[path]
    decay = 0.3 if path.endswith("kernel") else 0.0
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t in range(1, STEPS + 1):
        rate = 0.1 * 0.5 * (1 + np.cos(np.pi * (t - 1) / STEPS))
        g = 0.5 * y + NOISE[t - 1][path]
        h = g + decay * theta
        if name == "adamax":
            m, v = 0.9 * m + 0.1 * h, np.maximum(0.999 * v, abs(h) + 1e-8)
            update = bias_corrected(m, 0.9, t) / v
        elif name in ("nadam", "radam"):
            m, v = 0.9 * m + 0.1 * h, 0.999 * v + 0.001 * h**2
            root = np.sqrt(bias_corrected(v, 0.999, t)) + 1e-8
            if name == "nadam":
                update = (0.9 * bias_corrected(m, 0.9, t + 1) + 0.1 * bias_corrected(h, 0.9, t)) / root
            else:
                last = 2 / (1 - 0.999) - 1
                rho = last - 2 * t * 0.999**t / (1 - 0.999**t)
                update = bias_corrected(m, 0.9, t)
                if rho >= threshold:
                    ratio = (rho - 4) * (rho - 2) * last / ((last - 4) * (last - 2) * rho)
                    update = np.sqrt(ratio) * update / root
        elif name == "lion":
            update = np.sign(0.9 * m + 0.1 * g) + decay * theta
            m = 0.99 * m + 0.01 * g
        elif name == "schedule_free_adamw":  # theta is the average x, m is z, and gradients are those of y
            z = START[path] if t == 1 else m
            v = 0.999 * v + 0.001 * g**2
            m = z - 0.1 * (g / (np.sqrt(bias_corrected(v, 0.999, t)) + 1e-8) + decay * y)
            theta = (1 - 1 / t) * theta + m / t
            y = 0.1 * m + 0.9 * theta
            continue
        elif name == "muon" and path == "conv1/kernel":
            m = 0.95 * m + 0.05 * g
            mixed = 0.95 * bias_corrected(m, 0.95, t + 1) + 0.05 * bias_corrected(g, 0.95, t)
            rows, columns = 4, 3
            update = orthogonalized(mixed.reshape(rows, columns)).reshape(g.shape)
            update = max(1, columns / rows) ** 0.5 * update + decay * theta
        else:  # Adam of Muon, and LAMB
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            epsilon = 1e-6 if name == "lamb" else 1e-8
            update = bias_corrected(m, 0.9, t) / (np.sqrt(bias_corrected(v, 0.999, t)) + epsilon)
            update = update * (0.15 if name == "muon" else 1) + decay * theta
            if name == "lamb":
                update = update * np.linalg.norm(theta) / np.linalg.norm(update)
        theta = y = theta - rate * update
    return theta


def prodigy() -> dict[str, np.ndarray]:
    theta, zeros = START, {path: np.zeros(shape) for path, shape in SHAPES.items()}
    m, v, q, r, first = zeros, zeros, zeros, 0.0, 1e-6
    d, b3 = first, 0.999**0.5
    for t in range(1, STEPS + 1):
        factor = 0.5 * (1 + np.cos(np.pi * (t - 1) / STEPS))
        eta = 0.1 * factor * d * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        g = {path: 0.5 * theta[path] + NOISE[t - 1][path] for path in SHAPES}
        m = {path: 0.9 * m[path] + 0.1 * d * g[path] for path in SHAPES}
        v = {path: 0.999 * v[path] + 0.001 * d**2 * g[path] ** 2 for path in SHAPES}
        r = b3 * r + eta * d / first * sum((g[path] * (START[path] - theta[path])).sum() for path in SHAPES)
        q = {path: b3 * q[path] + eta * d / first * g[path] for path in SHAPES}
        d = max(d, r / sum(abs(value).sum() for value in q.values()))
        decays = {path: 0.3 if path.endswith("kernel") else 0.0 for path in SHAPES}
        theta = {
            path: theta[path] - eta * (m[path] / (np.sqrt(v[path]) + d * 1e-8) + decays[path] * theta[path])
            for path in SHAPES
        }
    return theta


FIRST = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")
"""The optimizers whose recursion is in `tests/training/test_optimizers.py`."""


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in FIRST])
def test_each_follows_the_recursion_of_its_docstring(name):
    expected = prodigy() if name == "prodigy" else {path: one_array(name, path) for path in SHAPES}
    ours = trained(name)
    for path, value in expected.items():
        layer, leaf = path.split("/")
        np.testing.assert_allclose(ours[layer][leaf], value, rtol=1e-6, err_msg=path)


def test_radam_takes_the_threshold_of_the_paper():
    """With the decay 0.999, the fifth step has the first number above 4, and the sixth the first above 5."""
    ours = trained("radam", threshold=4.0)
    for path in SHAPES:
        layer, leaf = path.split("/")
        np.testing.assert_allclose(ours[layer][leaf], one_array("radam", path, 4.0), rtol=1e-6)
    assert not np.allclose(one_array("radam", "logits/bias", 4.0), one_array("radam", "logits/bias"))


RATES = {"sgd": 0.2, "adagrad": 0.3, "prodigy": 1.0}


def test_lookahead_follows_the_recursion_of_its_docstring():
    """The fast weights take steps of 0.1 times the gradient; every third step pulls the slow ones by 0.25."""
    optimizer = make_optimizer("sgd", constant(1), learning_rate=0.1, lookahead=3, lookahead_step_size=0.25)
    fast = slow = 2.0
    params: Any = {"bias": jnp.float32(fast)}
    state = optimizer.init(params)
    for t in range(1, 8):
        fast -= 0.1 * 3 * fast
        if t % 3 == 0:
            slow = fast = slow + 0.25 * (fast - slow)
        updates, state = optimizer.update(jax.tree.map(lambda p: 3 * p, params), state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params["bias"], fast, rtol=1e-5)
        used: Any = eval_params(state_of(params, state))[0]
        np.testing.assert_allclose(used["bias"], slow, rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_minimises_and_compiles_once_for_all_rates(name):
    """The functions are a hundredth of Rosenbrock's, and a quadratic with curvatures of 0.02 and 2."""

    def loss(params: Any) -> jax.Array:
        x, y = params["rosenbrock"]["kernel"][0]
        a, b = params["quadratic"]["kernel"][0]
        return (0.1 - 0.1 * x) ** 2 + (y - x**2) ** 2 + (0.1 * a - 0.1) ** 2 + (b + 1) ** 2

    num_steps = 4000
    schedule = (constant if name == "schedule_free_adamw" else cosine)(num_steps)
    optimizer = make_optimizer(name, schedule)
    traces = []

    @jax.jit
    def minimise(rates: Any) -> Any:
        traces.append(1)
        params = {
            "rosenbrock": {"kernel": jnp.array([[-1.0, 1.5]])},
            "quadratic": {"kernel": jnp.ones((1, 2))},
        }
        state = set_rates(optimizer.init(params), **rates)

        def step(_: Any, carry: Any) -> Any:
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return optax.apply_updates(params, updates), state

        params, state = jax.lax.fori_loop(0, num_steps, step, (params, state))
        return loss(eval_params(state_of(params, state))[0])

    rate = RATES.get(name, 0.1)
    losses = [
        float(minimise({"learning_rate": jnp.float32(rate * factor), "weight_decay": jnp.float32(0)}))
        for factor in (1.0, 1e-6)
    ]
    assert len(traces) == 1
    assert losses[0] < 0.001
    assert losses[1] > 1
