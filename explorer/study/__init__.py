"""A study: its file, the design points that it asks for, and the claims that it judges."""
