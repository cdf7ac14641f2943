"""Where text is generated: one module per engine, found by its file name."""
