"""What the registry says to programs: every JSON object that an interface gives, made here and nowhere else.

Pure functions from values to dicts that are ready for JSON, a module for each subject. The shapes are stable: members may be
added, none is renamed or removed, and none changes its type. What to do next is data under `next_actions`; beside it stands
a text (`next_step` of an error, `next` of an explanation), which each interface words in its own way: see `reasons.Wording`.
Events are given as bytes, since they are to stand as they do in the log. Documents that are kept by digest (manifests,
lifecycles, policies, receipts) have formats of their own, and pass through no function here.

Each module loads next to nothing, so that a command that only reads stays quick.
"""
