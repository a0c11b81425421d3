"""Weights and models of others, in and out: imports, exports, deployment."""
