"""The part that listens to the network: HTTP, who may post, limits. Decides nothing, keeps nothing."""
