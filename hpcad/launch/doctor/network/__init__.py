"""The network of a launch, measured by `hpcad doctor`: which links and hosts are slow, by name."""
