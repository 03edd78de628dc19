"""The JSON of the registry: every object that an interface returns, made here and nowhere else.

Pure functions from values to dicts that are ready for JSON, one module per subject. The shapes are stable: members may be
added, none is renamed or removed, and none changes its type. Next steps are data under `next_actions`; next to them is a text
(`next_step` of an error, `next` of an explanation), which each interface words in its own way: see `reasons.Wording`. Events
are returned as bytes, to stay identical to the log. Documents stored by digest (manifests, lifecycles, policies, receipts)
have their own formats, and pass through no function here.

Each module imports very little, so that commands that only read stay fast.
"""
