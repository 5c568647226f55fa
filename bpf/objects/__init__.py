"""Anybody's BPF objects, read from outside: programs, maps, links, rings, variables."""
