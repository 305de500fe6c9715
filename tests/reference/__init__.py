"""Independent brute force of the line shapes: numpy and scipy only, nothing of jaxnmr imported."""
