"""How networks compute: normalisation, precision, compilation, recomputation."""
