"""Facts of the Indian market as pure functions over dated tables: instruments, sessions, ticks, costs.

Every other room asks this one; it reads nothing but its own data files, once, when a module is imported.
"""
