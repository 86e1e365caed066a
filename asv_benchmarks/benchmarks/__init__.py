"""Benchmarks of fastgen, one module for each noun of the package; other libraries are values of a parameter `impl`."""
