"""What surrounds a job: information about the machine, batch systems."""
