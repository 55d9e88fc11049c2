"""Pictures: drawn into an axis that is given, and saved as figures for pages and papers."""
