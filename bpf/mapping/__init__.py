"""What stands in an agent's maps: how full they are, whose the entries are, and how they come and go."""
