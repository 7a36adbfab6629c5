"""A model, loss and data of one's own, trained by the Trainer."""

import numpy as np

import hpcad
from hpcad import nn, optim


class Net(nn.Module):
    def __init__(self):
        self.hidden = nn.Linear(2, 64)
        self.out = nn.Linear(64, 1)

    def forward(self, x):
        return self.out(nn.tanh(self.hidden(x)))


def loss(model, batch):  # the mean over this rank's part of the batch
    return nn.mean_squared_error(model(batch["x"]), batch["y"])


world = hpcad.init()  # one process, or one rank of mpirun or srun
x = np.random.default_rng(0).uniform(-2, 2, (4000, 2)).astype(np.float32)
y = np.sin(x[:, :1] * x[:, 1:])
data = hpcad.ArrayDataset({"x": x, "y": y})

model = Net().initialize(seed=0)
optimizer = optim.Adam(model, learning_rate=3e-3)
trainer = hpcad.Trainer(
    model, optimizer, data, loss=loss, batch=64, epochs=10, directory="runs/own"
)
result = trainer.run()
if world.is_root:
    print(result.phases, result.checkpoint, sep="\n")
