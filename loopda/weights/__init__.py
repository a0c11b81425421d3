"""Files of weights: which are published, fetching, reading, and recognising whose tensors they hold."""
