"""Studies, with their files, design points and claims."""
