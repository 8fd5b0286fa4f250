"""The demos: their data, what they are compared with, the processes and the report."""
