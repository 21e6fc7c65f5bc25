"""From the plan to new Definitions, one rewrite an object."""
