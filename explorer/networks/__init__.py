"""Network descriptions: layers and the combinators that join them, with costs, layer tables and torch modules."""
