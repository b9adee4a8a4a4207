"""Tables and pages, made from the saved rows of a run alone."""
