"""An ML project as teams have it: partitions, graph assets, one-op-many-assets, training."""
