"""Comparisons with other programs; `data` holds their results, the scripts that made them and versions."""
