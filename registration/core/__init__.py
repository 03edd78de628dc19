"""The pure core: the statechart, decide and fold, the codec of the files, the protocol of stores.

No I/O, no clock, no randomness: the same arguments give the same bytes, forever. Read `decider` first.
"""
