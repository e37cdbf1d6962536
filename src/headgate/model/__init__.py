"""What exists: values only, shared by both halves. Imports nothing but `typing` and `msgspec`."""
