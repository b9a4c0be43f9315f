"""Faster, exact replacements for parts of transformers' encoders."""
