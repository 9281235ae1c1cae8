"""The same numbers in less time or memory: twins of ops, threads, workers, ranks."""
