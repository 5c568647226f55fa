"""Reasons to hold back: guards, their rules, and the policy that sets them."""
