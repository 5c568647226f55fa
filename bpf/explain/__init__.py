"""Why did it not load, why does it lose events: from any text to ranked causes.

``explain(text, host)`` is the way in; it is imported where it is used, so that this package costs
nothing to those who only look for its entry point. The rules are a table: ``rules_*.py``.
"""
