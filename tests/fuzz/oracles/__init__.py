"""The independent HTTP knowledge of the target `exchange`, one module for each kind of mistake: reading the bytes
(`outcome`, `response`), interpreting the head (`meaning`, `redirects`), and the text of errors (`secrets`).
"""
