"""The page for people: templates, forms, live updates. Everything shown comes from the worker."""
