"""Benchmarks of the lock-free structures; what a call costs from C is printed by ``tests/native/lockfree_*.c``."""
