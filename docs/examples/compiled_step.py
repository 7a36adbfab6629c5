"""A training step that becomes a program; the program shows itself."""

import numpy as np

import hpcad
from hpcad import nn, optim


class Net(nn.Module):
    def __init__(self):
        self.hidden = nn.Linear(8, 32)
        self.out = nn.Linear(32, 1)

    def forward(self, x):
        return self.out(nn.tanh(self.hidden(x)))


world = hpcad.init()
rng = np.random.default_rng(world.rank)
x = rng.normal(size=(64, 8)).astype(np.float32)
y = np.sin(x[:, :1] + x[:, 1:2])

model = Net().initialize(seed=0)
hpcad.DataParallel(model, world)
optimizer = optim.Adam(model, learning_rate=1e-2, clip_norm=1.0)


@hpcad.compile
def step(x, y):
    loss = nn.mean_squared_error(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


losses = [float(step(x, y)) for _ in range(300)]
if world.is_root:
    print(f"loss {losses[0]:.3f}, then loss {losses[-1]:.3f}")
    print(step.program.source)

with step.program.timed() as seconds:
    for _ in range(100):
        step(x, y)
if world.is_root:
    print(step.program.report(seconds / 100))
