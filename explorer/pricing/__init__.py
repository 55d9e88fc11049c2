"""What networks cost, for one design point or millions: enumerate, price, select, fit."""
