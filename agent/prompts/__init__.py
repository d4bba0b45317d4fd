"""Every text that a model is sent, as templates (`*.md.j2`), and their renderer."""
