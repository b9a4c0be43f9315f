"""Attention patterns that GliZNet adds to unchanged encoders."""
