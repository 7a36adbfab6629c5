"""Steps of larger machines, predicted from what a program does and how a machine is built."""
