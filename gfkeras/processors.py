"""The number of processors that this process can use."""


def usable_processors() -> int:
    """Returns the number of usable processors, at least 1, within the quota of a container.

    `os.cpu_count` counts all processors of the machine. In a container with a quota of two
    processors, inference with 64 threads is slower than with two.
    """
    import joblib

    return joblib.cpu_count()
