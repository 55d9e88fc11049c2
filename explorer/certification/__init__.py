"""How far short runs can be trusted: certificates, their statistics, and how one is made."""
