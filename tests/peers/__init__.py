"""Comparisons with other programs; what is stored in `data` carries the script that made it and its version."""
