"""`hpcad doctor`: finds the mistakes of a launch before it has cost node hours."""
