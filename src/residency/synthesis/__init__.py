"""Tasks for a domain out of its image-caption pairs (AdaMLLM): written, judged, combined, exported."""
