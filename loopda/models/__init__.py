"""Networks: backbones, segmentation networks, decoders, discriminators."""
