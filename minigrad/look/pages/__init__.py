"""Views of a recorded run: pictures of the graph, the page of the stepper, the attention workbench, training runs."""
