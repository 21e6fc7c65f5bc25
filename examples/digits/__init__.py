"""Handwritten digits: features of 1,797 real images, a classifier and a report."""
