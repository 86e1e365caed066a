"""Lock-free structures: what threads share without waiting for each other."""
