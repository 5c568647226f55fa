"""The sub-commands of ``runbook``: each module is imported only when one of its commands is used."""
