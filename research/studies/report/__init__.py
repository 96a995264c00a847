"""The report of a folder of runs, as Markdown, HTML and CSV."""
