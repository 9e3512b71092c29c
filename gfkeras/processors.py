"""The number of processors that this process may use."""


def usable_processors() -> int:
    """At least 1; never more than a container's quota of time allows.

    `os.cpu_count` counts the machine's processors. With a thread for each of 64, inference in a
    container that may use two of them would be slower, not faster.
    """
    import joblib

    return joblib.cpu_count()
