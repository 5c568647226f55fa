"""The part that talks to the network: no privileges, no state, no decisions.

It authenticates senders, bounds what they may take, reads what they post into alerts, and asks the
worker for everything else. What is on disk and what may be done is the worker's.
"""
