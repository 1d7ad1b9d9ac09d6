"""RBM training beside its peers: scikit-learn's BernoulliRBM, which does persistent CD, and a plain torch loop of CD-1.

One epoch over 10,000 MNIST images, 784 - 500 binary units, batches of 100, one thread, float32 everywhere. CPU time,
runs in turns, medians; quality is the exact pseudo-likelihood an image of 200 test images (binarised at 1/2), the mean
of nine seeds with its standard error (after one epoch persistent chains differ much from seed to seed). The bound is
the time of the matrix products alone, each in the memory order that the peers use. Then a stack of ten layers of 256
units on 12,800 images, five epochs a layer.
"""

import time
import warnings

import numpy as np
import torch
from deepdynamics import data
from deepdynamics.rbm import RBM, pretrain
from sklearn.neural_network import BernoulliRBM
from stored import Times, comparison, growth, store
from threadpoolctl import threadpool_limits

VISIBLE, HIDDEN, BATCH, RATE = 784, 500, 100, 0.1
REPETITIONS = 9


def ours(algorithm, **more):
    def train(X, seed):
        rbm = RBM(VISIBLE, HIDDEN, seed=seed)
        return rbm.fit(X, algorithm=algorithm, epochs=1, learning_rate=RATE, batch_size=BATCH, seed=seed, **more)

    return train


def scikit_learn(X, seed):
    """BernoulliRBM in float32, its parameters handed to an RBM."""
    peer = BernoulliRBM(HIDDEN, learning_rate=RATE, batch_size=BATCH, n_iter=1, random_state=seed).fit(X.numpy())
    rbm = RBM(1, 1)
    rbm.visible, rbm.hidden, rbm.weights = VISIBLE, HIDDEN, torch.tensor(peer.components_.T)
    rbm.visible_bias, rbm.hidden_bias = torch.tensor(peer.intercept_visible_), torch.tensor(peer.intercept_hidden_)
    if rbm.weights.dtype != torch.float32:
        raise TypeError(f"scikit-learn trained in {rbm.weights.dtype}: the comparison is of float32")
    return rbm


def plain_loop(X, seed):
    """CD-1 as one writes it down."""
    draw, rbm = torch.Generator().manual_seed(seed), RBM(VISIBLE, HIDDEN, seed=seed)
    W, b, c = rbm.weights, rbm.visible_bias, rbm.hidden_bias
    for rows in torch.randperm(len(X), generator=draw).split(BATCH):
        v = X[rows]
        h = torch.sigmoid(v @ W + c)
        on = torch.bernoulli(h, generator=draw)
        model_v = torch.bernoulli(torch.sigmoid(on @ W.T + b), generator=draw)
        model_h = torch.sigmoid(model_v @ W + c)
        W += RATE * (v.T @ h - model_v.T @ model_h) / len(rows)
        b += RATE * (v - model_v).mean(0)
        c += RATE * (h - model_h).mean(0)
    return rbm


def products_alone(X, seed):
    """The products that an epoch needs: h from v twice, v from h, and the two of the update."""
    v, W, h = X[:BATCH].clone(), torch.zeros(VISIBLE, HIDDEN), torch.zeros(BATCH, HIDDEN)
    update = torch.empty(VISIBLE, HIDDEN)
    for _ in range(len(X) // BATCH):
        torch.mm(v, W, out=h)
        torch.mm(h, W.T, out=v)
        torch.mm(v, W, out=h)
        torch.mm(v.T, h, out=update)
        update.addmm_(v.T, h)


METHODS = {
    "ours, CD-1": ours("cd"),
    "ours, PCD": ours("pcd"),
    "ours, PCD, bias from data": ours("pcd", bias_from_data=True),
    "scikit-learn, PCD": scikit_learn,
    "plain torch loop, CD-1": plain_loop,
}


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    X = data.load("mnist", "train", n=10_000, flatten=True).images
    test = data.load("mnist", "test", n=200, flatten=True).images.round()
    seconds = {name: [] for name in (*METHODS, "bound")}
    quality = {name: [] for name in METHODS}
    with threadpool_limits(1):
        for repetition in range(REPETITIONS):
            for name, train in (METHODS | {"bound": products_alone}).items():
                start = time.process_time()
                rbm = train(X, repetition)
                seconds[name].append(time.process_time() - start)
                if rbm is not None:
                    quality[name].append(float(rbm.pseudo_likelihood(test).mean()))
        times = {name: Times(t, np.median) for name, t in seconds.items()}
        print("one epoch, 10,000 x 784 - 500, float32, one thread: CPU seconds, pseudo-likelihood of test images")
        for name in METHODS:
            share, nats = times["bound"] / times[name], np.array(quality[name])
            print(
                f"  {name:26} {times[name]:.3f} s, products alone are {share:4.0%} of it; "
                f"{nats.mean():7.1f} ± {nats.std(ddof=1) / len(nats) ** 0.5:.1f} nats"
            )
        rows = []
        for mine, peer in (("ours, PCD", "scikit-learn, PCD"), ("ours, CD-1", "plain torch loop, CD-1")):
            ratios = np.divide(seconds[peer], seconds[mine])
            said = ", ".join(f"{np.mean(quality[name]):.1f}" for name in (mine, peer))
            said = f"pseudo-likelihood of test images, in nats: {said}"
            what = f"RBM.fit, {mine.removeprefix('ours, ')}, an epoch"
            rows.append(comparison(what, peer, times[mine], times[peer], accuracy=said))
            print(
                f"  {mine} is {times[peer] / times[mine]:.2f} x as fast as {peer} (pairs: {ratios.min():.2f} to "
                f"{ratios.max():.2f}); nothing but the products would be {times[peer] / times['bound']:.2f} x"
            )
        print(f"  ours, CD-1 is {times['scikit-learn, PCD'] / times['ours, CD-1']:.2f} x as fast as scikit-learn, PCD")
        start = time.process_time()
        images = data.load("mnist", "train", n=12_800, flatten=True).images
        recipe = {"epochs": 5, "learning_rate": 0.1, "momentum": [0.5, 0.5, 0.9, 0.9, 0.9], "weight_decay": 2e-4}
        pretrain((784, *[256] * 10), images, units="continuous", gain=1.05, bias_from_data=True, seed=0, **recipe)
        print(f"ten layers of 256 units, 12,800 images, five epochs: {time.process_time() - start:.1f} s (goal: 30 s)")
        counts, epochs = (2500, 5000, 10_000), []
        for count in counts:
            start = time.process_time()
            ours("cd")(X[:count], 0)
            epochs.append(time.process_time() - start)
    store("rbm", rows, [growth("RBM.fit, CD-1, an epoch", "images", counts, epochs)])


if __name__ == "__main__":
    main()
