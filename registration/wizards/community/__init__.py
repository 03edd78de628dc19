"""The wizard `community-onboarding`: chains, assets, tiers, roles and channels, and the manifest that they make.

Data and pure functions: nothing here asks a chain, a server or a clock.
"""
