"""Says something when it is imported, which stays in Python's buffer: its output is a pipe."""

print("imported, and said so")
