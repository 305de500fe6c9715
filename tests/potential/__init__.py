"""Potentials: the network, foundation weights, model files."""
