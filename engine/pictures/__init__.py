"""Drawing alone: figures, colours, and SVG for pages."""
