"""The agents that run here: profiles, and the processes and BPF objects they match."""
