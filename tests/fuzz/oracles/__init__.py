"""What the target `exchange` knows of HTTP by itself, one module for each thing that may be wrong: how bytes were read
(`outcome`, `response`), what was made of the head (`meaning`, `redirects`), and what an error tells (`secrets`).
"""
