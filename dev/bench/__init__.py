"""`make bench`: what a wait, a listing and an import cost, next to what they cost with the http provider.

Every figure is taken in a process of its own, so that one variant can't warm, crowd or slow the other. The
servers run in the process that starts them, so their work isn't counted. All is on the loopback address.
"""
