"""Published credentials: their formats, the writer of the files, and the reader of them.

May import files and core. Refuses to know how credentials are obtained and when they are refreshed.
"""
