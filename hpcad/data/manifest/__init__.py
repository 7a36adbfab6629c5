"""What a dataset holds: the manifest, read as a hostile file and written so that it lasts."""
