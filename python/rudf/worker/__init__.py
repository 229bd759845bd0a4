"""The Python side of a worker: what Rust leaves to Python because PySpark does it in Python too.

Nothing here imports rudf's user-facing package, and row functions need neither pyspark nor pyarrow.
"""
