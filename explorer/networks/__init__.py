"""Network descriptions: layers, the combinators that join them, and what is read off them."""
