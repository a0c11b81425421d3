"""Data sets: layouts on disk, manifests, frames, batches and their augmentation."""
