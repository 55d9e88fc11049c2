"""Reports, which are self-contained pages made from stored rows, without torch."""
