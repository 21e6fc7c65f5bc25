"""The embedded store on DuckDB."""
