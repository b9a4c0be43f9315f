"""`make gpu-check`: does everything that needs a GPU work on this one, and how fast is it?

Each part is a function whose result is stored, so the same command resumes. Without a GPU, the same parts run with tiny
sizes on the CPU, to keep them working. Nothing here needs Snakemake, pydantic, the hub or a package index.
"""
