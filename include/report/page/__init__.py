"""The HTML page of the report: its charts, its pictures and its rendering."""
