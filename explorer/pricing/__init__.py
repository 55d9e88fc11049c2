"""What networks cost, for one design point or for millions: enumerate, price, select, fit."""
