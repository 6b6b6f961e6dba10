"""The HTML report of an evaluation: text, charts, tables, timelines, and the templates that lay them out."""
