# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first model
#
# From arrays to fields, spikes, figures and exported programs, on sequences that are made here. It is run whenever this
# site is built, within seconds: the model has seen too little to be a good one. Take ten times the steps to see more.
#
# The pictures are grey and 12 × 20 pixels large. Two things can happen in them: a bar moves to the right, and a spot
# grows. Each switches on and off on its own, and runs at varying speed.

# %%
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch

import stf

source = np.random.default_rng(0)
count, steps = 200, 5
on = source.random((count, steps, 2)) < 0.5
speeds = (on * source.uniform(0.5, 1.5, on.shape)).astype(np.float32)
state = np.concatenate([np.zeros((count, 1, 2)), speeds.cumsum(1)], axis=1) + source.uniform(0, 2, (count, 1, 2))
y, x = np.arange(12)[:, None], np.arange(20)[None]
place, size = state[..., 0, None, None], state[..., 1, None, None]
bar = 1 / (1 + np.exp(3 * np.abs(x - 2 - 1.2 * place) - 4.8)) * (np.abs(y - 3) < 2.5)
spot = 1 / (1 + np.exp(2 * np.hypot(x - 15, y - 9) - 1.2 - 1.2 * size))
frames = (0.8 * bar + 0.8 * spot).clip(0, 1).astype(np.float32)
frames.shape

# %% [markdown]
# ## Train
#
# The speeds are known here, so they are given beside the frames. Training without supervision does not look at them;
# they are there to be compared with what was found.

# %%
data = stf.data.arrays(frames, speeds, transformations=("moves", "grows"))
folder = Path(mkdtemp())
run = stf.fit(
    data, steps=300, out=folder / "first", quiet=True, batch_size=16, model={"num_fields": 3, "width": 64, "depth": 1}
)
run.model.fields_alive

# %% [markdown]
# ## What was found
#
# `share` says how much of a field's activity falls on the transformation that it was matched with.

# %%
run.evaluate(sequences=40)["alignment"]["transformations"]

# %% [markdown]
# ## Spikes and speeds
#
# The posterior over what acts in each transition, given all frames, is exact.

# %%
clips = torch.as_tensor(frames[:4])[:, :, None]
posterior = run.model.activity(clips)
print("P(on)", posterior.probability[0].round(decimals=2), sep="\n")
print("speed", posterior.speed[0].round(decimals=2), sep="\n")
print("truth", torch.as_tensor(speeds[0]), sep="\n")

# %% [markdown]
# `infer` gives speeds that are exactly zero where a field is more probably off.

# %%
run.model.infer(clips)[0]

# %% [markdown]
# ## Figures
#
# Figures are matplotlib figures. Once `%matplotlib inline` has been said, one is shown where it stands at the end of a
# cell.

# %%
# %matplotlib inline
figures = run.figures()
list(figures)

# %%
figures["overview"]

# %% [markdown]
# ## Back from the folder
#
# A run is loaded without its data, and its parts can be exported as programs that need this package no more.

# %%
model = stf.load(folder / "first")
assert torch.equal(model.infer(clips), run.model.infer(clips))
programs = run.export(folder / "programs")
encoder = torch.export.load(programs[0]).module()
mean, log_variance = encoder(clips[:, 0])
(mean - model.encode(clips[:, 0])).abs().max()
