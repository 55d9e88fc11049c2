"""Reports: self-contained pages made of stored rows, without torch."""
