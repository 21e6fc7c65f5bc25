"""The same papers, of which a run looks at those alone that have changed."""
