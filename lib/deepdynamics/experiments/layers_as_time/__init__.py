"""What the chapter on layers as time measures."""
