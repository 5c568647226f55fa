"""What memory is made of and how it grows: the pure part of the probes of memory."""
