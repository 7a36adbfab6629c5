"""A dataset in the memories of all ranks together; its samples travel when asked."""
