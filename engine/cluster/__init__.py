"""Kubernetes: what eyes and hands both need to reach one workload in a cluster or in a manifest."""
