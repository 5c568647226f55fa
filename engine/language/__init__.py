"""The runbook language: YAML and expressions, from text to checked, frozen documents."""
