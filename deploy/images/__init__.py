"""The product's container image, and stand-ins of base images for machines without a registry."""
