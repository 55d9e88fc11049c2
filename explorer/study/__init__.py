"""Studies: their files, design points and claims."""
