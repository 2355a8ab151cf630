"""The peer to measure against: the same training, written for JAX.

One compiled function runs through all epochs (`scan`), each step of it
through all models (`vmap`); the arrays are updated in place (`donate`).
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8  # as torch.optim.Adam


def initial(size, width, layers, count):
    """Weights and biases of `count` autoencoders with bottleneck 1."""
    sizes = [size, *[width] * layers, 1, *[width] * layers, size]
    rng = np.random.default_rng(0)
    return [tuple(jnp.asarray(rng.uniform(-1, 1, shape) / n_in**0.5,
                              jnp.float32)
                  for shape in ((count, n_in, n_out), (count, n_out)))
            for n_in, n_out in pairwise(sizes)]


def loss(weights, x):
    """Mean squared reconstruction error of one model."""
    linear = len(weights) // 2 - 1, len(weights) - 1  # outputs of the halves
    h = x
    for i, (w, b) in enumerate(weights):
        h = h @ w + b
        h = h if i in linear else jax.nn.relu(h)
    return jnp.mean((h - x)**2)


def adam(t, weights, grads, means, squares):
    """Weights and moments after step t of Adam."""
    means = jax.tree.map(
        lambda m, g: BETA1 * m + (1 - BETA1) * g, means, grads)
    squares = jax.tree.map(
        lambda s, g: BETA2 * s + (1 - BETA2) * g * g, squares, grads)
    weights = jax.tree.map(
        lambda w, m, s: w - LR * m / (1 - BETA1**t) / (
            jnp.sqrt(s / (1 - BETA2**t)) + EPS), weights, means, squares)
    return weights, means, squares


class Peer:
    """Trains `count` models at once each time it is called.

    The number of points must be a multiple of `batch`.
    """

    def __init__(self, x, width, layers, count, epochs, batch):
        x = jnp.asarray(x)
        weights = initial(x.shape[1], width, layers, count)
        self.state = (1.0, weights, *(
            jax.tree.map(jnp.zeros_like, weights) for _ in range(2)))
        self.key = jax.random.key(0)
        gradients = jax.vmap(jax.value_and_grad(loss))

        def step(state, points):
            t, weights, *moments = state
            losses, grads = gradients(weights, x[points])
            return (t + 1, *adam(t, weights, grads, *moments)), losses

        def epoch(state, key):
            order = jax.vmap(lambda k: jax.random.permutation(k, len(x)))(
                jax.random.split(key, count))
            batches = order.reshape(count, -1, batch).swapaxes(0, 1)
            return jax.lax.scan(step, state, batches)

        self.run = jax.jit(lambda state, key: jax.lax.scan(
            epoch, state, jax.random.split(key, epochs)), donate_argnums=0)

    def __call__(self):
        self.key, key = jax.random.split(self.key)
        self.state, losses = self.run(self.state, key)
        return losses.block_until_ready()  # (epochs, steps, count)
