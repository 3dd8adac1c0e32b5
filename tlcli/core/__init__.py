"""What retrain and label share: images, bottlenecks, the final layer, graphs."""
