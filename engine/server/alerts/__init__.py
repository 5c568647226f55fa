"""What senders post, read into one kind of value: pure functions, one file per sender."""
