"""From samples to batches: mixtures, images, volumes, negatives."""
