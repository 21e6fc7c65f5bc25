"""An ELT project as teams have it: a loader, a dbt project, marts in Python, alerts, schedules."""
