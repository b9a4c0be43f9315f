"""`make gpu-check`: does everything that needs a GPU work on this one, and how fast is it?

A part is one function; what it finds is kept, so the same command continues. Without a GPU the same parts run at tiny
sizes on the CPU, so that they cannot rot. Nothing here needs Snakemake, pydantic, the hub or a package index.
"""
