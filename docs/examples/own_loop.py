"""The same model, loss and data in a loop of one's own."""

import numpy as np

import hpcad
from hpcad import nn, optim, parallel


class Net(nn.Module):
    def __init__(self):
        self.hidden = nn.Linear(2, 64)
        self.out = nn.Linear(64, 1)

    def forward(self, x):
        return self.out(nn.tanh(self.hidden(x)))


world = hpcad.init()  # one process, or one rank of mpirun or srun
x = np.random.default_rng(0).uniform(-2, 2, (4000, 2)).astype(np.float32)
y = np.sin(x[:, :1] * x[:, 1:])
data = hpcad.ArrayDataset({"x": x, "y": y})

model = Net().initialize(seed=0)
optimizer = optim.Adam(model, learning_rate=3e-3)
hpcad.DataParallel(model, world)  # from here on backward() averages gradients over the ranks
for batch in hpcad.Loader(data, 64, rank=world.rank, size=world.size, epochs=10):
    errors = (model(batch["x"]) - batch["y"]) ** 2
    loss = parallel.mean(errors)  # over the samples of all ranks
    loss.backward()
    optimizer.step()
    if batch.last_in_epoch and world.is_root:
        print(f"epoch {batch.epoch}  loss {loss.item():.5f}")
