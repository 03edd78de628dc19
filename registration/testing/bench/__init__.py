"""Level 5, the benchmark: what this disk and this registry do, measured side by side. See `registration.testing.bench.suite`.

What is measured on a machine means little by itself, so beside each figure stands its floor, done with bare system calls on the
same bytes in the same loop, in turn with it: what else the machine does meets both.
"""
