"""Saliency without learning, to compare with."""
