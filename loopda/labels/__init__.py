"""Label maps: class lists, reading and writing, thresholds, day-night agreement, retrieval, mixing."""
