"""The IO manager: features in, features out."""
