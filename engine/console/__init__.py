"""What a person sees: sections of text, tables and charts, and the console that shows them."""
