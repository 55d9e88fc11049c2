"""Network descriptions: layers, the combinators that join them, and what is derived from them."""
