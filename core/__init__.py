"""The nouns of the house and the shape of its doors: values, ports, errors, clock, transforms."""
