"""The cost of networks, for one design point or millions: enumerate, price, select and fit."""
